"""`tocsin bench console` measures and says what it measured."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from click.testing import CliRunner

from tocsin.console.models.database import Database
from tocsin.console.models.folding import TOPICS, Batch
from tocsin.deploy.bench.console import BAR_MS, command
from tocsin.deploy.bench.console_records import World
from tocsin.deploy.bench.console_world import messages
from tocsin.shared.topics import ACTIVATIONS, DELIVERY_DEAD_LETTER, SENSOR_READINGS

NOW = 1_764_064_800_000


def test_the_world_is_as_large_as_it_says_and_every_record_can_be_read() -> None:
    counts: Counter[str] = Counter()
    database = Database()
    batch = Batch()
    for topic, key, value in messages(World(systems=300, recipients=40, deliveries=2_000, now=NOW)):
        counts[topic] += 1
        if topic in TOPICS:
            batch.add(topic, key.encode() if isinstance(key, str) else key, value)
    assert batch.unreadable == 0
    database.write(batch.statements())

    def count(sql: str) -> int:
        (row,) = database.rows(f"SELECT count(*) AS count FROM {sql}")
        return int(row["count"])

    # The last activations are still open: their second event, and its deliveries, are yet to come.
    assert 1_700 <= count("deliveries") <= 2_000
    assert count("activations WHERE state = 'active'") == 20
    assert count("deliveries WHERE state = 'retrying'") == 200
    assert (counts[SENSOR_READINGS], counts[ACTIVATIONS]) == (600, 100)
    assert counts[DELIVERY_DEAD_LETTER] == count("letters") == count("deliveries WHERE state = 'dead-lettered'") > 10
    assert count("(SELECT DISTINCT recipient_id FROM deliveries)") == 40
    database.close()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_run_starts_what_it_needs_and_prints_every_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    arguments = ["--systems", "500", "--recipients", "60", "--deliveries", "3000", "--json"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    rows = {row["case"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["start: all topics read, beside reading them alone"]["rate"] > 0
    lists = [row for row in rows.values() if "p95_ms" in row]
    assert len(lists) > 80
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in lists)
    assert {row["bar_ms"] for row in lists} == {BAR_MS}
    # So small a deployment is far below the bar, however busy the machine.
    assert all(row["p50_ms"] < BAR_MS for row in lists)
    told = rows["notices to each of 50 pages that watch for 10 s"]
    assert 2 <= told["rate"] <= 6
