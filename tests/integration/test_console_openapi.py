"""Requests made from the OpenAPI document itself: no server error, no answer that the document does not name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from consoling import TOKENS, RunningConsole, console_settings, with_accounts
from tocsin.deploy.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 3
"""For each operation and each run; writes go to a real broker."""


@pytest.fixture(scope="module")
def running(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    made = console_settings(stack, tmp_path_factory.mktemp("openapi"))
    with_accounts(made)
    with RunningConsole(made) as console:
        yield console


@pytest.mark.filterwarnings("default")
def test_every_operation_answers_as_its_document_says(running: RunningConsole) -> None:
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    headers = {"Authorization": f"Bearer {TOKENS['admin']}"}
    wrong: list[str] = []
    answered: dict[str, set[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        if "recipient-test" in operation.path:
            continue  # sends to wherever it is told

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
            response = case.call(headers=headers)
            answered.setdefault(case.operation.label, set()).add(response.status_code)
            try:
                case.validate_response(response, checks=CHECKS)
            except Exception as error:  # noqa: BLE001  all of them are listed
                wrong.append(str(error)[:1500])

        ask()
    assert not wrong, "\n\n".join(dict.fromkeys(wrong))
    # They were let in, and some got what they asked for.
    assert len(answered) > 50
    assert not any(status in (401, 403) for statuses in answered.values() for status in statuses)
    assert answered["GET /api/v1/sensors"] & {200}
