"""Each ready template against the documented shape of its service, with ordinary and with awkward events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from delivering import event_of
from tocsin.console.checks import EgressPolicy
from tocsin.console.cli.templates import templates
from tocsin.console.findings import Findings
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import read_files
from tocsin.console.yaml_recipients import Rules
from tocsin.dispatcher.core.ready_templates import ready_templates
from tocsin.dispatcher.core.templates import check_template, render
from tocsin.dispatcher.core.variables import VARIABLES, Values
from tocsin.shared.errors import UsageError
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.event import EventUrls, NotificationEvent, Threshold
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

Schema = dict[str, Any]


def text(longest: int, shortest: int = 0) -> Schema:
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def closed(required: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def either(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def list_of(item: Schema, most: int) -> Schema:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most}


URL = {"type": "string", "pattern": "^https?://", "maxLength": 3000}

# docs.slack.dev/reference/block-kit/blocks: lengths, counts, which text where
MRKDWN = {"type": {"const": "mrkdwn"}}
PLAIN = {"type": {"const": "plain_text"}}
BUTTON = closed("type text url", type={"const": "button"}, text=closed("type text", **PLAIN, text=text(75, 1)), url=URL)
SLACK = closed(
    "text blocks",
    text=text(40_000, 1),
    blocks=list_of(
        either(
            closed("type text", type={"const": "header"}, text=closed("type text", **PLAIN, text=text(150, 1))),
            closed("type text", type={"const": "section"}, text=closed("type text", **MRKDWN, text=text(3000, 1))),
            closed(
                "type fields",
                type={"const": "section"},
                fields=list_of(closed("type text", **MRKDWN, text=text(2000, 1)), 10),
            ),
            closed(
                "type elements",
                type={"const": "context"},
                elements=list_of(closed("type text", **MRKDWN, text=text(3000, 1)), 10),
            ),
            closed("type elements", type={"const": "actions"}, elements=list_of(BUTTON, 25)),
        ),
        50,
    ),
)

# adaptivecards.io/explorer, version 1.4; learn.microsoft.com: message with attachments
TEXT_BLOCK = closed(
    "type text",
    type={"const": "TextBlock"},
    text=text(28_000, 1),
    size={"enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"]},
    weight={"enum": ["Default", "Lighter", "Bolder"]},
    color={"enum": ["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"]},
    wrap={"type": "boolean"},
)
FACTS = closed(
    "type facts",
    type={"const": "FactSet"},
    facts=list_of(closed("title value", title=text(100, 1), value=text(28_000)), 50),
)
CARD = closed(
    "type version body",
    **{"$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"}},
    type={"const": "AdaptiveCard"},
    version={"enum": ["1.2", "1.3", "1.4", "1.5"]},
    msteams=closed("width", width={"const": "Full"}),
    body=list_of(either(TEXT_BLOCK, FACTS), 50),
    actions={
        "type": "array",
        "maxItems": 6,
        "items": closed("type title url", type={"const": "Action.OpenUrl"}, title=text(100, 1), url=URL),
    },
)
TEAMS = closed(
    "type attachments",
    type={"const": "message"},
    attachments=list_of(
        closed(
            "contentType content",
            contentType={"const": "application/vnd.microsoft.card.adaptive"},
            contentUrl={"type": "null"},
            content=CARD,
        ),
        10,
    ),
)

# developer.pagerduty.com/docs/events-api-v2/trigger-events: the key may come in the header X-Routing-Key
PAGERDUTY = closed(
    "event_action dedup_key payload",
    event_action={"enum": ["trigger", "acknowledge", "resolve"]},
    dedup_key=text(255, 1),
    client=text(255),
    client_url=either(URL, text(0)),
    payload=closed(
        "summary source severity",
        summary=text(1024, 1),
        source=text(255, 1),
        severity={"enum": ["critical", "error", "warning", "info"]},
        timestamp={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$"},
        component=text(255),
        group=text(255),
        **{"class": text(255)},
        custom_details={"type": "object"},
    ),
    links={"type": "array", "items": closed("href text", href=URL, text=text(255, 1))},
)

# Fields of the table `incident`; short_description has 160 characters, description 4,000
SERVICENOW = closed(
    "short_description",
    short_description=text(160, 1),
    description=text(4000),
    correlation_id=text(100),
    correlation_display=text(100),
    category=text(40),
    impact={"enum": ["1", "2", "3"]},
    urgency={"enum": ["1", "2", "3"]},
)

# Fields of the table `em_event`; severity 0 (clear) to 5, additional_info is JSON in a text
SERVICENOW_EVENT = closed(
    "records",
    records=list_of(
        closed(
            "source node type resource severity message_key",
            source=text(100, 1),
            event_class=text(100),
            node=text(100, 1),
            resource=text(100, 1),
            type=text(100, 1),
            metric_name=text(100),
            message_key=text(1024, 1),
            severity={"enum": ["0", "1", "2", "3", "4", "5"]},
            resolution_state={"enum": ["New", "Closing"]},
            description=text(4000),
            additional_info={"type": "string", "contentMediaType": "application/json"},
        ),
        100,
    ),
)

# A JSON object; one level of plain values can be picked by a JSONPath
QUALTRICS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}

SCHEMAS: dict[str, Schema] = {
    "generic": {"type": "object", "required": ["eventId", *VARIABLES]},
    "slack": SLACK,
    "teams": TEAMS,
    "pagerduty": PAGERDUTY,
    "servicenow": SERVICENOW,
    "servicenow-event": SERVICENOW_EVENT,
    "qualtrics": QUALTRICS,
}

AWKWARD = event_of(
    kind="resolved",
    notification=Ref(id="n", name="&<\"'\\" * 40),
    description='<!channel> "ü" \\ \t\n' * 100,
    sensors=tuple(Ref(id=str(number), name=f"Sensor & {number} " + "x" * 180) for number in range(10)),
    group=Ref(id="g", name="G" * 200),
    threshold=Threshold(value="99.999999", is_percent=True, text="99.999999% of systems currently reporting"),
)
BARE = event_of(
    kind="dismissed",
    description="",
    group=None,
    urls=EventUrls(activation="", systems_at_activation="", systems_now=""),
)
EVENTS = [event_of(), event_of(kind="reminder", ordinal=2), AWKWARD, BARE]


def body_of(name: str, event: NotificationEvent) -> Any:
    found = ready_templates()[name]
    printed = render(found.body, found.content_type, Values.of(event))
    assert len(printed.encode()) <= 100_000
    return json.loads(printed)


def test_there_is_one_for_each_service_and_each_has_a_schema_here() -> None:
    assert set(ready_templates()) == set(SCHEMAS)
    assert next(iter(ready_templates())) == "generic"


@pytest.mark.parametrize("event", EVENTS, ids=["activated", "reminder", "awkward", "bare"])
@pytest.mark.parametrize("name", SCHEMAS)
def test_the_body_has_the_documented_shape(name: str, event: NotificationEvent) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    errors = [error.message[:300] for error in Draft202012Validator(SCHEMAS[name]).iter_errors(body_of(name, event))]
    assert errors == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_template_may_be_saved(name: str) -> None:
    found = ready_templates()[name]
    assert check_template(found.body, found.content_type) == []


def test_what_opens_also_closes() -> None:
    opened, closed_ = body_of("pagerduty", EVENTS[0]), body_of("pagerduty", AWKWARD)
    assert (opened["event_action"], closed_["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed_["dedup_key"]
    opened, closed_ = (body_of("servicenow-event", event)["records"][0] for event in (EVENTS[0], AWKWARD))
    assert (opened["severity"], opened["resolution_state"]) == ("2", "New")
    assert (closed_["severity"], closed_["resolution_state"]) == ("0", "Closing")
    assert opened["message_key"] == closed_["message_key"]
    assert json.loads(closed_["additional_info"])["kind"] == "resolved"


def test_names_cannot_ping_a_slack_channel() -> None:
    body = body_of("slack", AWKWARD)
    section = next(block for block in body["blocks"] if block["type"] == "section")
    assert section["text"]["text"].startswith("&lt;!channel&gt; ")
    assert "<" not in json.dumps([block for block in body["blocks"] if block["type"] != "header"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_the_command_shows_can_be_applied(name: str, tmp_path: Path) -> None:
    shown = CliRunner().invoke(templates, ["show", name], catch_exceptions=False).output
    file = tmp_path / "recipient.yaml"
    file.write_text(shown)
    findings = Findings()
    environment = {"SERVICENOW_PASSWORD": "p", "SERVICENOW_EVENT_PASSWORD": "p", "GENERIC_SECRET": "s"} | {
        header.value: "token" for header in ready_templates()[name].headers if header.sensitive
    }
    (draft,) = read_files([str(file)], Reader(findings, environment), Rules(EgressPolicy(), DEFAULT_RETRY_TIERS))
    assert [str(finding) for finding in findings.all] == []
    assert draft.fields["webhook"]["body"].strip() == ready_templates()[name].body.strip()


def test_the_list_and_an_unknown_name() -> None:
    listed = CliRunner().invoke(templates, ["list"], catch_exceptions=False).output
    assert [line.split()[0] for line in listed.splitlines()] == list(ready_templates())
    as_json = json.loads(CliRunner().invoke(templates, ["list", "--json"], catch_exceptions=False).output)
    assert {one["name"] for one in as_json} == set(SCHEMAS)
    with pytest.raises(UsageError, match="there is no template 'slak'; did you mean 'slack'"):
        CliRunner().invoke(templates, ["show", "slak"], catch_exceptions=False)
