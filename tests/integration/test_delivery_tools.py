"""`tocsin ledger` and `tocsin dead-letters` against a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from delivering import (
    RunningDispatcher,
    ScriptedServer,
    audits,
    delivery_for,
    dispatcher_settings,
    event_of,
    put_deliveries,
    says,
    says_in_turn,
    terminals,
    unsigned_recipient,
    wait_for_terminals,
)
from support import eventually, produce, put_records
from tocsin.console.cli import root
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared import kafka
from tocsin.shared.schemas.audit import AuditRecord
from tocsin.shared.topics import DELIVERY_AUDIT

pytestmark = pytest.mark.kafka

Run = Callable[..., Result]


@pytest.fixture
def settings(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DispatcherSettings:
    settings = dispatcher_settings(stack, tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("TOCSIN_TOPIC_PREFIX", settings.topic_prefix)
    monkeypatch.setenv("TOCSIN_RETRY_TIERS", "200ms,500ms")
    monkeypatch.setenv("TOCSIN_STATE_DIR", str(tmp_path))
    return settings


def run(*args: str) -> Result:
    return CliRunner().invoke(root, list(args), catch_exceptions=False)


def test_the_ledger_balances_while_deliveries_wait_and_when_they_have_ended(settings: DispatcherSettings) -> None:
    answer = says_in_turn(says("200 OK"), says("500 No"), says("200 OK"))
    with ScriptedServer(answer) as server:
        recipient = unsigned_recipient(server.url)
        put_records(settings, recipient)
        put_deliveries(settings, [delivery_for(recipient) for _ in range(3)])
        waiting = run("ledger", "--json")
        assert waiting.exit_code == 0
        found = json.loads(waiting.stdout)
        assert (found["clean"], found["routed"], found["open"], found["ended"]) == (True, 3, 3, {})
        assert found["oldest_open_ms"] > 0
        with RunningDispatcher(settings):
            wait_for_terminals(settings, 3)
    done = run("ledger")
    assert done.exit_code == 0
    assert "delivered          3" in done.stdout
    assert "attempts failed    1" in done.stdout
    assert "Every delivery has one end, or waits." in done.stdout


def test_the_ledger_finds_what_is_missing_doubled_and_unknown(settings: DispatcherSettings) -> None:
    recipient = unsigned_recipient("http://127.0.0.1:9/")
    forgotten, twice, unheard = (delivery_for(recipient, event=event_of(ordinal=at)) for at in (1, 2, 3))

    def record(delivery_id: str, kind: str) -> tuple[bytes, bytes]:
        values = AuditRecord(
            id="x", kind=kind, delivery_id=delivery_id, event_id="e", activation_id="a", time=1_764_064_800_123,
            notification={"id": "n", "name": "N"}, recipient={"id": "r", "name": "R"},
        )  # type: ignore[arg-type]  # fmt: skip
        return delivery_id.encode(), values.encode()

    produce(
        kafka.producer(settings.kafka),
        settings.topic(DELIVERY_AUDIT),
        [
            record(forgotten.id, "routed"),
            record(twice.id, "routed"),
            record(twice.id, "delivered"),
            record(twice.id, "dead-lettered"),
            record(unheard.id, "delivered"),
        ],
    )
    answer = run("ledger", "--json")
    assert answer.exit_code == 1
    found = json.loads(answer.stdout)
    assert found["missing"] == [{"delivery": forgotten.id, "replay": 0}]
    assert found["doubled"] == [{"delivery": twice.id, "replay": 0}]
    assert found["unknown"] == [{"delivery": unheard.id, "replay": 0}]
    assert "missing: delivery" in run("ledger").stdout
    # All of it happened long ago.
    assert run("ledger", "--since", "1h").exit_code == 0


def test_a_dead_letter_is_listed_shown_and_replayed_once(settings: DispatcherSettings) -> None:
    answer = says_in_turn(*[says("500 No", body=b"broken")] * 3, says("200 OK"))
    with ScriptedServer(answer) as server, RunningDispatcher(settings):
        recipient = unsigned_recipient(server.url, "Hook")
        put_records(settings, recipient)
        (id_,) = put_deliveries(settings, [delivery_for(recipient)])
        wait_for_terminals(settings, 1)
        (listed,) = [json.loads(line) for line in run("dead-letters", "list", "--json").stdout.splitlines()]
        assert (listed["delivery"], listed["reason"], listed["status"]) == (id_, "attempts_exhausted", 500)
        assert run("dead-letters", "list", "--recipient", "Other", "--json").stdout == ""
        assert json.loads(run("dead-letters", "show", id_).stdout)["response_excerpt"] == "broken"
        assert run("dead-letters", "replay").exit_code == 2
        assert run("dead-letters", "replay", "--recipient", "hook").stdout == "1 delivery taken up again\n"
        eventually(lambda: len(terminals(settings)) == 2)
        again = run("dead-letters", "replay", id_)
        assert again.stdout == "0 deliveries taken up again; 1 had been replayed before\n"
    assert terminals(settings) == {(id_, 0): 1, (id_, 1): 1}
    assert {(one.replay, one.kind) for one in audits(settings, "routed", "delivered", "dead-lettered")} == {
        (0, "routed"),
        (0, "dead-lettered"),
        (1, "routed"),
        (1, "delivered"),
    }
    assert run("dead-letters", "list", "--json").stdout == ""
    assert "yes" in run("dead-letters", "list", "--all").stdout
    assert run("ledger").exit_code == 0
