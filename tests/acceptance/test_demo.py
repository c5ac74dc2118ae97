"""The demo as a newcomer runs it, and every public record it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Message
from jsonschema import Draft202012Validator, FormatChecker

from support import read_all
from tocsin.deploy.fleet import TOCSIN
from tocsin.deploy.stack import Stack
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import topic_table

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a demo that has run to its end."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "KAFKA_"))}
    environment["TOCSIN_STATE_DIR"] = str(folder)
    done = subprocess.run(
        [*TOCSIN, "demo", "--once"], env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("signature verified", "is triggered", "activated", "to oncall@example.com", "delivered", "Ledger"):
        assert part in done.stdout, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return folder


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_public_record_of_the_demo_is_one_json_object_that_its_schema_file_accepts(state_dir: Path) -> None:
    checked = 0
    with Stack(state_dir):
        settings = CommonSettings.load({}, state_dir=state_dir)
        for topic in topic_table():
            if topic.schema is None or topic.name.startswith("delivery-retry"):
                continue
            schema = json.loads((SCHEMAS / f"{topic.schema}.json").read_text())
            validator = Draft202012Validator(schema, format_checker=FormatChecker())
            messages = [message for message in read_all(settings, topic.name) if message.value() is not None]
            for message in messages:
                record = json.loads(message.value() or b"")
                assert isinstance(record, dict)
                problems = [error.message for error in validator.iter_errors(record)]
                assert not problems, (topic.name, record, problems)
                if topic.public and topic.name != "sensor-readings":
                    _check_cloud_event(topic.name, message)
            checked += len(messages)
            if topic.public:
                assert messages, f"the demo has written nothing to {topic.name}"
    assert checked > 10


def _check_cloud_event(topic: str, message: Message) -> None:
    """The CloudEvents SDK reads it as an event in binary mode."""
    headers = {name: value for name, value in message.headers() or [] if isinstance(value, bytes)}
    assert headers["schema"] == b"1", topic
    event = from_binary(KafkaMessage(headers=headers, key=message.key(), value=message.value() or b""), JSONFormat())
    assert event.get_id()
    assert event.get_type().startswith("dev.tocsin."), topic
    assert isinstance(event.get_data(), dict)


@pytest.mark.kafka
def test_the_demo_leaves_no_process_behind(state_dir: Path) -> None:
    import psutil  # noqa: PLC0415

    left = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        if environment.get("TOCSIN_STATE_DIR") == str(state_dir):
            left.append(process.info["cmdline"])
    assert left == []
