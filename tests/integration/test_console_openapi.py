"""Requests made from the OpenAPI document itself: no server error, no answer that the document does not name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from consoling import TOKENS, Client, RunningConsole, console_settings, with_accounts
from support import eventually
from tocsin.deploy.bench.console_records import World
from tocsin.deploy.bench.console_world import fill
from tocsin.deploy.stack import Stack
from tocsin.shared.clock import SystemClock

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 3
"""For each operation and each run; writes go to a real broker."""


WORLD = World(systems=100, recipients=20, deliveries=1_000, now=SystemClock().now_ms())
"""Something of everything, so that answers have something to show."""


@pytest.fixture(scope="module")
def running(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    made = console_settings(stack, tmp_path_factory.mktemp("openapi"), partitions_readings=4)
    fill(made, WORLD)
    with_accounts(made)
    with RunningConsole(made) as console:
        eventually(console.console.feed.caught_up.is_set, 60)
        eventually(lambda: console.client("admin").get("/api/v1/systems").json()["items"])
        yield console


def closed(document: Any) -> Any:
    """The document with every object closed: an answer may hold what is said there, and nothing else."""
    if isinstance(document, list):
        return [closed(one) for one in document]
    if not isinstance(document, dict):
        return document
    found = {name: closed(value) for name, value in document.items()}
    if found.get("type") == "object" and "properties" in found:
        found.setdefault("additionalProperties", False)
    return found


def real_ids(client: Client) -> dict[str, str]:
    """One of each list that has ids, by the list's name."""
    found = {}
    for path in client.get("/openapi.json").json()["paths"]:
        name = path.removeprefix("/api/v1/").partition("/")[0]
        if path.endswith("/{id}"):
            found[name] = client.get(f"/api/v1/{name}").json()["items"][0]["id"]
    return found


@pytest.mark.filterwarnings("default")
def test_every_operation_answers_as_its_document_says(running: RunningConsole) -> None:
    client = running.client("admin")
    schema = schemathesis.openapi.from_dict(closed(client.get("/openapi.json").json()))
    ids = real_ids(client)
    headers = {"Authorization": f"Bearer {TOKENS['admin']}"}
    wrong: list[str] = []
    answered: dict[str, set[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        if "recipient-test" in operation.path:
            continue  # sends to wherever it is told
        label = f"{operation.method.upper()} {operation.path}"
        answered[label] = set()

        def check(case: schemathesis.Case, label: str = label) -> None:
            response = case.call(base_url=running.url, headers=headers)
            answered[label].add(response.status_code)
            try:
                case.validate_response(response, checks=CHECKS)
            except FailureGroup as error:  # all of them are listed
                wrong.extend(f"{label}: {one}"[:1500] for one in error.exceptions)

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            check(case)

        ask()
        if operation.method.upper() != "DELETE":  # once more of one that is there, with nothing else asked
            name = operation.path.removeprefix("/api/v1/").partition("/")[0]
            given_id = {"id": ids[name]} if "{id}" in operation.path else {}
            check(operation.Case(path_parameters=given_id))
    assert not wrong, "\n\n".join(dict.fromkeys(wrong))
    # They were let in, and what there is was shown.
    assert len(answered) > 50
    assert not any(status in (401, 403) for statuses in answered.values() for status in statuses)
    assert [label for label in answered if label.startswith("GET") and 200 not in answered[label]] == []
