"""`tocsin apply | export | get | topics` as a user runs them, against a real broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from support import produce, read_all, settings_for, with_topics
from tocsin.console.cli import root
from tocsin.deploy.stack import Stack
from tocsin.shared import kafka
from tocsin.shared.errors import TocsinError
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.base import Ref
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import ACTIVATIONS, CONFIGURATION, CONFIGURATION_AUDIT

pytestmark = pytest.mark.kafka

YAML = """
sensors:
  - {name: CPU, metric: cpu, trigger: "> 90"}
notifications:
  - {name: N, sensors: [CPU], threshold: 25%, recipients: [Hook]}
recipients:
  - name: Hook
    type: system
    webhook: {url: "https://example.com", authentication: {type: signed-secret, secret: {env: SECRET}}}
"""


class Shell:
    """One user's environment."""

    def __init__(self, settings: CommonSettings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.environment: dict[str, str | None] = {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
            "TOCSIN_STATE_DIR": str(folder / "state"),
            "TOCSIN_SECRET_KEYS": "k1:" + "QUFB" * 10 + "QUE=",
            "SECRET": "canary-secret",
        }

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(root, arguments, env=self.environment, input=stdin)
        assert "canary" not in result.output
        return result

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Shell:
    few = {"partitions_readings": 1, "partitions_deliveries": 1, "partitions_default": 1, "retry_tiers": (5_000,)}
    return Shell(with_topics(settings_for(stack.bootstrap_servers, tmp_path, **few)), tmp_path)


def test_apply_export_apply_changes_nothing_the_second_time(shell: Shell) -> None:
    file = shell.write("c.yaml", YAML)
    assert "applied as change 1" in shell.ok("apply", "-f", file)
    assert shell.ok("apply", "-f", file) == "3 unchanged\n"
    exported = shell.ok("export")
    assert "keep: true" in exported
    shell.environment["SECRET"] = None
    before = len(read_all(shell.settings, CONFIGURATION))
    assert shell.ok("apply", "-f", "-", "--prune", stdin=exported) == "3 unchanged\n"
    assert len(read_all(shell.settings, CONFIGURATION)) == before


def test_no_secret_is_on_any_topic(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("c.yaml", YAML))
    for topic in (CONFIGURATION, CONFIGURATION_AUDIT):
        messages = read_all(shell.settings, topic)
        assert messages
        assert not [message for message in messages if b"canary" in (message.value() or b"")]


def test_a_dry_run_shows_the_difference_and_writes_nothing(shell: Shell) -> None:
    shown = shell.ok("apply", "-f", shell.write("c.yaml", YAML), "--dry-run")
    assert "+ notification N" in shown
    assert "    threshold: 25%" in shown
    assert shown.endswith("3 created\ndry run: nothing was written\n")
    assert read_all(shell.settings, CONFIGURATION) == []


def test_one_wrong_line_in_one_of_many_files_leaves_everything_as_it_was(shell: Shell) -> None:
    shell.write("conf/a.yaml", YAML)
    bad = shell.write("conf/b.yaml", "sensors:\n  - {name: B, metric: m, trigger: '>> 1'}\n")
    result = shell.run("apply", "-f", str(shell.folder / "conf"))
    assert result.exit_code == 1
    assert f"{bad}:2:35: trigger: '>> 1' is not a condition" in result.stderr
    assert result.stderr.endswith("1 problem: nothing was applied\n")
    assert read_all(shell.settings, CONFIGURATION) == []


def test_several_paths_may_follow_one_option(shell: Shell) -> None:
    parts = YAML.split("notifications:")
    first = shell.write("a.yaml", parts[0])
    second = shell.write("b.yaml", "notifications:" + parts[1])
    assert "3 created" in shell.ok("apply", "-f", first, second)


def test_prune_with_nothing_in_the_files_is_refused(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("c.yaml", YAML))
    result = shell.run("apply", "-f", shell.write("empty.yaml", "sensors: []\n"), "--prune")
    assert isinstance(result.exception, TocsinError)
    assert "would delete everything" in str(result.exception)


def test_prune_deletes_what_the_files_do_not_have(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("c.yaml", YAML))
    only_sensor = shell.write("s.yaml", YAML.split("notifications:", maxsplit=1)[0])
    shown = shell.ok("apply", "-f", only_sensor, "--prune")
    assert shown.splitlines()[:3] == ["- notification N", "- recipient Hook", "2 pruned, 1 unchanged"]
    assert "Hook" not in shell.ok("export")


def test_get_shows_records_in_three_forms(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("c.yaml", YAML))
    assert shell.ok("get", "recipients").splitlines() == [
        "NAME  TYPE    REACHED BY                NOTIFICATIONS",
        "Hook  system  POST https://example.com  1",
    ]
    record = json.loads(shell.ok("get", "recipient", "hook", "-o", "json"))
    assert record["webhook"]["authentication"] == {"type": "signed-secret", "secret": "***"}
    assert record["revision"] == 1
    assert [one["name"] for one in json.loads(shell.ok("get", "sensors", "-o", "json"))] == ["CPU"]
    assert shell.ok("get", "sensor", "CPU", "-o", "yaml").startswith("sensors:\n  - name: CPU\n")
    assert len(json.loads(shell.ok("get", "settings", "deployment", "-o", "json"))["tenant_id"]) == 36


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("get", "sensorz"), "there is no kind 'sensorz'; did you mean 'sensors'?"),
        (("get", "sensors", "CPUU"), "there is no sensor 'CPUU'; did you mean 'CPU'?"),
        (("get", "sensors", " "), "a name must not be empty"),
    ],
)
def test_get_names_the_nearest(shell: Shell, arguments: tuple[str, ...], expected: str) -> None:
    shell.ok("apply", "-f", shell.write("c.yaml", YAML))
    assert expected in str(shell.run(*arguments).exception)


def test_secrets_need_a_key_ring_and_the_message_says_how(shell: Shell) -> None:
    shell.environment["TOCSIN_SECRET_KEYS"] = None
    result = shell.run("apply", "-f", shell.write("c.yaml", YAML))
    assert "set TOCSIN_SECRET_KEYS" in str(result.exception)
    assert read_all(shell.settings, CONFIGURATION) == []


def test_topics_are_listed_checked_and_brought_in_order(stack: Stack, tmp_path: Path) -> None:
    shell = Shell(settings_for(stack.bootstrap_servers, tmp_path), tmp_path)
    rows = json.loads(shell.ok("topics", "list", "-o", "json"))
    assert {row["exists"] for row in rows} == {False}
    checked = shell.run("topics", "check")
    assert checked.exit_code == 1
    assert (
        f"topic {shell.settings.topic_prefix}sensor-readings does not exist; run: tocsin topics apply" in checked.stderr
    )
    assert f"{len(rows)} created, 0 changed, 0 unchanged" in shell.ok("topics", "apply")
    assert f"0 created, 0 changed, {len(rows)} unchanged" in shell.ok("topics", "apply")
    assert json.loads(shell.ok("topics", "check", "-o", "json")) == {"ok": True, "problems": []}
    listed = shell.ok("topics", "list").splitlines()
    assert len(listed) == len(rows) + 1
    assert all(line.endswith("yes") for line in listed[1:])


def test_a_silence_is_added_listed_and_ended(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("c.yaml", YAML))
    added = shell.ok("silence", "add", "notification=n*", "sensor!=RAM", "--until", "2h", "--comment", "patch night")
    name = added.partition(":")[0]
    assert added.rstrip().endswith(": N")
    shell.ok("silence", "add", "group=Lab", "--from", "1d", "--until", "30m", "--name", "Later")
    first, second = (json.loads(line) for line in shell.ok("silence", "list", "--json").splitlines())
    assert (first["name"], first["state"], first["notifications"]) == (name, "active", ["N"])
    assert (first["matchers"], first["comment"]) == ("notification=n* sensor!=ram", "patch night")
    assert first["by"].startswith("cli:")
    assert (second["name"], second["state"], second["notifications"]) == ("Later", "to come", [])
    assert "matchers:" in shell.ok("export")
    assert shell.ok("silence", "expire", name) == f"{name} ended\n"
    assert shell.ok("silence", "expire", name) == f"{name} was over already\n"
    assert [line.split()[0] for line in shell.ok("silence", "list").splitlines()] == ["NAME", "Later"]
    assert name in shell.ok("silence", "list", "--all")
    for arguments, problem in (
        (("add", "host=a", "--until", "2h"), "is not a matcher"),
        (("add", "group=a", "--until", "0s"), "is over already"),
        (("add", "group=a", "--until", "soon"), "neither a duration"),
        (("expire", "Latre"), "did you mean 'Later'?"),
    ):
        failed = shell.run("silence", *arguments)
        assert failed.exit_code != 0
        assert problem in failed.output + str(failed.exception)


def test_an_open_activation_is_dismissed_once(shell: Shell) -> None:
    producer = kafka.producer(shell.settings.kafka)
    records = [
        Activation(id=id_, notification=Ref(id="n", name="N"), state=state, activated_at=1, matched=1, reporting=1)
        for id_, state in (("a-1", "active"), ("a-2", "resolved"))
    ]
    produce(producer, shell.settings.topic(ACTIVATIONS), [(one.id.encode(), one.encode()) for one in records])
    assert shell.ok("dismiss", "a-1", "--comment", "known") == "the activation of 'N' dismissed\n"
    assert shell.ok("dismiss", "a-1") == "the activation of 'N' has been dismissed already\n"
    (record,) = (json.loads(message.value() or b"") for message in read_all(shell.settings, CONFIGURATION)
                 if (message.key() or b"").startswith(b"dismissal/"))  # fmt: skip
    assert (record["activation_id"], record["comment"]) == ("a-1", "known")
    for wrong, problem in (("a-2", "is over: it is resolved"), ("a-3", "did you mean 'a-1'?")):
        failed = shell.run("dismiss", wrong)
        assert failed.exit_code != 0
        assert problem in str(failed.exception)
