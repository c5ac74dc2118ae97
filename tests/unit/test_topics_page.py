"""The table of topics: its page, and what follows from its rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.console.cli import root
from tocsin.console.topics_page import render_page
from tocsin.shared.times import parse_duration
from tocsin.shared.topics import DEFAULT_RETRY_TIERS, Partitions, Topic, retry_topic, topic_table

PAGE = Path(__file__).parents[2] / "docs" / "topics.md"
TABLE = {topic.name: topic for topic in topic_table()}


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == render_page(), "run: tocsin topics list -o markdown > docs/topics.md"


def test_the_page_needs_no_broker() -> None:
    result = CliRunner().invoke(root, ["topics", "list", "-o", "markdown"], env={"KAFKA_BOOTSTRAP_SERVERS": None})
    assert result.output == render_page()


def test_the_list_without_a_broker_shows_the_table_alone(tmp_path: Path) -> None:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": None, "TOCSIN_STATE_DIR": str(tmp_path)}
    result = CliRunner().invoke(root, ["topics", "list"], env=environment)
    assert result.exit_code == 0
    assert "no broker" in result.stderr
    assert len(result.stdout.splitlines()) == len(TABLE) + 1


@pytest.mark.parametrize("delay", DEFAULT_RETRY_TIERS)
def test_a_retry_topic_outlives_ten_of_its_delays_and_a_week(delay: int) -> None:
    topic = TABLE[retry_topic(delay)]
    assert topic.retention_ms is not None
    assert topic.retention_ms >= max(10 * delay, parse_duration("7d"))
    assert topic.cleanup == "delete"


def test_topics_that_must_be_read_together_are_in_one_group() -> None:
    def group(*names: str) -> set[str]:
        return {TABLE[name].group for name in names}

    assert group("sensor-readings", "detector-state") == {"readings"}
    retries = [retry_topic(delay) for delay in DEFAULT_RETRY_TIERS]
    assert group("deliveries", "delivery-parked", "recipient-state", *retries) == {"deliveries"}
    assert Partitions().of(TABLE["configuration"]) == 1


def test_readings_carry_the_time_of_their_arrival() -> None:
    assert TABLE["sensor-readings"].config()["message.timestamp.type"] == "LogAppendTime"


def test_public_topics_are_described_by_a_schema() -> None:
    public = [topic for topic in TABLE.values() if topic.public]
    assert {topic.name for topic in public} == {
        "sensor-readings",
        "sensor-changes",
        "notification-events",
        "delivery-audit",
    }
    assert all(topic.schema for topic in public)


def test_names_are_unique_and_what_kafka_takes() -> None:
    names = [topic.name for topic in topic_table()]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


def test_a_topic_knows_the_settings_it_needs() -> None:
    topic = Topic("x", "k", "v", ("a",), ("b",), "compact,delete", retention_ms=5)
    assert topic.config() == {
        "cleanup.policy": "compact,delete",
        "max.message.bytes": "4194304",
        "retention.ms": "5",
    }
