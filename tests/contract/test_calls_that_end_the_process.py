"""Calls of the Kafka client that may end the whole process, and what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("shared", "services", "deploy") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        # librdkafka 2.16, issue 5040: answered NOT_COORDINATOR, a client without a group of its own is at address 0. A
        # console that started with its broker ended with SIGSEGV; asked in a loop over restarts of a broker, most do.
        (".list_consumer_group_offsets(", "Consumer.committed() of one with that group.id that never subscribes"),
    ],
)
def test_nothing_calls_them(call: str, instead: str) -> None:
    assert len(SOURCES) > 100
    found = [path.relative_to(ROOT) for path in SOURCES if call in path.read_text()]
    assert not found, f"{call} may end the process; use {instead}"
