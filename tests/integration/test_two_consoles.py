"""Two console processes that write at once: nothing is lost, no name is there twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from console_process import ConsoleProcess
from consoling import Answer, Client, console_settings, with_accounts
from support import eventually, read_all
from tocsin.console.store import Store
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.shared.configuration.codec import CHANGE_HEADER
from tocsin.shared.headers import header
from tocsin.shared.topics import CONFIGURATION, CONFIGURATION_AUDIT

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SENSOR = {"metric": "cpu.percent", "trigger": "> 90"}
AT_ONCE = 8
NAMES = [f"Race {number}" for number in range(16)]


@pytest.fixture
def consoles(stack: Stack, tmp_path: Path) -> Iterator[list[ConsoleProcess]]:
    settings = console_settings(stack, tmp_path)
    with_accounts(settings)
    supervisor = Supervisor()
    try:
        made = [ConsoleProcess(settings, tmp_path, supervisor) for _ in range(2)]
        for one in made:
            one.start()
        yield made
    finally:
        supervisor.close()


def test_two_consoles_writing_at_once_lose_nothing_and_allow_no_duplicate_name(
    consoles: list[ConsoleProcess],
) -> None:
    clients = [one.client("editor") for one in consoles]
    assert len({one.child.pid for one in consoles if one.child}) == 2

    def create(job: int) -> Answer:
        """Each name is asked for twice, once at each console, at the same time."""
        return patient(clients[job % 2], "POST", "/api/v1/sensors", {**SENSOR, "name": NAMES[job // 2]})

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(create, range(2 * len(NAMES))))
    assert Counter(answer.status for answer in answers) == {201: len(NAMES), 422: len(NAMES)}
    made = [answer.json() for answer in answers if answer.status == 201]
    refused = [answer.json() for answer in answers if answer.status == 422]
    assert all("already taken" in one["errors"][0]["detail"] for one in refused)

    def change(job: int) -> Answer:
        """Both saw the same sensor; who comes second has to look again."""
        seen = made[job // 2]
        body = {**SENSOR, "name": seen["name"], "description": f"by {job % 2}"}
        return patient(clients[job % 2], "PUT", f"/api/v1/sensors/{seen['id']}", body, If_Match=f'"{seen["revision"]}"')

    with ThreadPoolExecutor(AT_ONCE) as pool:
        changed = list(pool.map(change, range(2 * len(made))))
    assert Counter(answer.status for answer in changed) == {200: len(made), 412: len(made)}

    settings = consoles[0].settings
    state = Store(settings, "test").read()
    stands = {record.id: record for record in state.of_kind("sensor")}
    won = {answer.json()["id"]: answer.json() for answer in changed if answer.status == 200}
    assert {record.name for record in stands.values()} == set(NAMES)
    assert {id_: record.description for id_, record in stands.items()} == {
        id_: one["description"] for id_, one in won.items()
    }
    # Both show the same, and nobody has written what was then lost.
    for client in clients:
        eventually(lambda client=client: shown(client) == won)
    audited = Counter(
        (record["record_id"], record["action"])
        for record in (json.loads(message.value() or b"") for message in read_all(settings, CONFIGURATION_AUDIT))
        if record["kind"] == "sensor"
    )
    assert audited == {(id_, action): 1 for id_ in won for action in ("created", "changed")}
    numbers = [int(header(message.headers(), CHANGE_HEADER) or b"0") for message in read_all(settings, CONFIGURATION)]
    assert len([one for one in numbers if one == max(numbers)]) == 1
    assert numbers == sorted(numbers), "a change was numbered without having seen the one before"


def patient(client: Client, method: str, path: str, body: object, **headers: str) -> Answer:
    """As a client that is told to come again (503) does."""
    return eventually(
        lambda: answer if (answer := client(method, path, body, **headers)).status != 503 else None, 60, 0.05
    )


def shown(client: Client) -> dict[str, object]:
    return {one["id"]: one for one in client.get("/api/v1/sensors?limit=100").json()["items"]}


def test_the_same_request_under_one_key_is_done_once_whichever_console_gets_it(consoles: list[ConsoleProcess]) -> None:
    clients = [one.client("editor") for one in consoles]

    def both(method: str, path: str, body: object, **headers: str) -> list[Answer]:
        """At the same time."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda client: patient(client, method, path, body, **headers), clients))

    for number in range(5):
        document = {**SENSOR, "name": f"Once {number}"}
        created = both("POST", "/api/v1/sensors", document, Idempotency_Key=f"create {number}")
        assert [one.status for one in created] == [201, 201]
        assert created[0].json() == created[1].json()
        path, etag = created[0].headers["Location"], created[0].headers["ETag"]
        changed = {**document, "description": "changed"}
        answers = both("PUT", path, changed, If_Match=etag, Idempotency_Key=f"change {number}")
        assert [one.status for one in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()
        other = both("PUT", path, document, If_Match=etag, Idempotency_Key=f"change {number}")
        assert [one.status for one in other] == [422, 422]
        gone = both("DELETE", path, None, If_Match=answers[0].headers["ETag"], Idempotency_Key=f"delete {number}")
        assert [one.status for one in gone] == [204, 204]
    records = [json.loads(one.value() or b"") for one in read_all(consoles[0].settings, CONFIGURATION_AUDIT)]
    done = Counter(record["action"] for record in records if record["kind"] == "sensor")
    assert done == {"created": 5, "changed": 5, "deleted": 5}
