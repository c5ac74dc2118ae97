"""A service that is up before its broker waits for it, and can be stopped meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support import becomes_true
from tocsin.deploy.fleet import Fleet, Member
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack.ports import HOST, answers, free_port

WAITING = ("gateway", "detector", "router", "dispatcher")
LONGER_THAN_ONE_QUESTION = 1.5


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{free_port()}",
        "TOCSIN_STATE_DIR": str(tmp_path),
        "TOCSIN_GATEWAY_API_KEYS": "key",
        "TOCSIN_GATEWAY_PORT": str(free_port()),
    }
    with Supervisor() as supervisor:
        yield Fleet(supervisor, tmp_path / "logs", environment)


def is_up(member: Member) -> bool:
    assert member.child.running, member.child.log_tail()
    return member.http_port is not None and answers(member.http_port)


def test_services_without_a_broker_stay_unready_and_end_at_once_when_told_to(fleet: Fleet) -> None:
    members = [fleet.start(service) for service in WAITING]
    assert becomes_true(lambda: all(is_up(member) for member in members), within=30)
    assert not becomes_true(
        lambda: any(not member.child.running or member.readiness() is None for member in members),
        within=LONGER_THAN_ONE_QUESTION,
    )
    codes = {member.name: member.child.stop(timedelta(seconds=5)) for member in members}
    assert codes == dict.fromkeys(WAITING, 0)
