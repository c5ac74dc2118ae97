"""Who reaches what: every route of the console, asked by every role. A route that is not in this table fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tocsin.console.access.keys import token_hash
from tocsin.console.access.roles import ROLES
from tocsin.console.access.sessions import Sessions
from tocsin.console.access.throttle import Throttle
from tocsin.console.directory import Directory
from tocsin.console.dry_runs import DryRunPolicy, DryRuns
from tocsin.console.editor import Editor
from tocsin.console.findings import Findings
from tocsin.console.json_nodes import parse_json, to_node
from tocsin.console.lag import LagFeed
from tocsin.console.models.database import Database
from tocsin.console.models.hub import Hub
from tocsin.console.models.queries import Queries
from tocsin.console.models.systems import Systems
from tocsin.console.pages.render import error_page
from tocsin.console.routes import all_routes, api_document, api_routes
from tocsin.console.settings import ConsoleSettings
from tocsin.console.tryout import Tryout
from tocsin.console.web.app import application
from tocsin.console.web.context import Console
from tocsin.console.web.problems import pointer_of
from tocsin.console.yaml_recipients import Rules
from tocsin.dispatcher.core.egress import EgressPolicy
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.codec import encode_record
from tocsin.shared.configuration.records import Token
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.secrets import KeyRing
from tocsin.shared.settings import KafkaSettings
from tocsin.shared.telemetry.health import Health

OPEN, VIEWER, OPERATOR, EDITOR, ADMIN = "nobody", "viewer", "operator", "editor", "admin"

_RECORDS = {
    f"{method} /api/v1/{kind}s{path}": VIEWER if method == "GET" else OPERATOR if kind == "silence" else EDITOR
    for kind in ("sensor", "group", "schedule", "notification", "recipient", "silence")
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/{id}"), ("PUT", "/{id}"), ("DELETE", "/{id}"))
}
_PAGES = {
    f"{method} /{kind}s{path}": VIEWER
    if method == "GET" and path != "/new"
    else OPERATOR
    if kind == "silence"
    else EDITOR
    for kind in ("sensor", "group", "schedule", "notification", "silence")
    for method, path in (
        ("GET", ""), ("GET", "/new"), ("POST", "/new"), ("GET", "/{id}"), ("POST", "/{id}"), ("POST", "/{id}/delete"),
    )
}  # fmt: skip
TABLE = {
    **_RECORDS,
    **_PAGES,
    "GET /-/healthy": OPEN,
    "GET /-/ready": OPEN,
    "GET /metrics": OPEN,
    "GET /static/{name}": OPEN,
    "GET /openapi.json": OPEN,
    "GET /sign-in": OPEN,
    "POST /sign-in": OPEN,
    "POST /sign-out": OPEN,
    "GET /sign-in/oidc": OPEN,
    "GET /sign-in/oidc/callback": OPEN,
    "GET /welcome": OPEN,
    "POST /welcome": OPEN,
    "GET /api/v1/me": VIEWER,
    "GET /api/v1/activations": VIEWER,
    "GET /api/v1/activations/{id}": VIEWER,
    "GET /api/v1/activations/{id}/systems": VIEWER,
    "POST /api/v1/activations/{id}/dismiss": OPERATOR,
    "GET /api/v1/lag": VIEWER,
    "GET /api/v1/deliveries": VIEWER,
    "GET /api/v1/deliveries/{id}": VIEWER,
    "GET /api/v1/dead-letters": VIEWER,
    "POST /api/v1/dead-letters/replay": OPERATOR,
    "GET /api/v1/systems": VIEWER,
    "GET /api/v1/audit": OPERATOR,
    "POST /api/v1/recipients/{id}/pause": OPERATOR,
    "POST /api/v1/recipients/{id}/resume": OPERATOR,
    "POST /api/v1/recipients/{id}/disable": OPERATOR,
    "POST /api/v1/recipients/{id}/enable": OPERATOR,
    "PUT /api/v1/recipients/{id}/notifications": EDITOR,
    "POST /api/v1/sensors/dry-run": EDITOR,
    "POST /api/v1/notifications/dry-run": EDITOR,
    "POST /api/v1/recipient-preview": EDITOR,
    "POST /api/v1/recipient-test": EDITOR,
    "GET /api/v1/tokens": ADMIN,
    "POST /api/v1/tokens": ADMIN,
    "DELETE /api/v1/tokens/{id}": ADMIN,
    "GET /api/v1/users": ADMIN,
    "POST /api/v1/users": ADMIN,
    "PATCH /api/v1/users/{id}": ADMIN,
    "DELETE /api/v1/users/{id}": ADMIN,
    "GET /live": VIEWER,
    "GET /": VIEWER,
    "GET /api": VIEWER,
    "GET /activations": VIEWER,
    "GET /activations/{id}": VIEWER,
    "POST /activations/{id}/dismiss": OPERATOR,
    "GET /systems": VIEWER,
    "GET /system": VIEWER,
    "GET /audit": OPERATOR,
    "GET /deliveries": VIEWER,
    "GET /deliveries/{id}": VIEWER,
    "POST /deliveries/{id}/replay": OPERATOR,
    "GET /dead-letters": VIEWER,
    "POST /dead-letters/replay": OPERATOR,
    "GET /recipients": VIEWER,
    "GET /recipients/new": EDITOR,
    "POST /recipients/new": EDITOR,
    "POST /recipients/check": EDITOR,
    "GET /recipients/{id}": VIEWER,
    "GET /recipients/{id}/edit": EDITOR,
    "POST /recipients/{id}/edit": EDITOR,
    "POST /recipients/{id}/check": EDITOR,
    "GET /recipients/{id}/assign": EDITOR,
    "POST /recipients/{id}/assign": EDITOR,
    "POST /recipients/{id}/act": OPERATOR,
    "POST /recipients/{id}/replay": OPERATOR,
    "POST /recipients/{id}/delete": EDITOR,
    "GET /recipients/{id}/export.yaml": VIEWER,
    "GET /recipients/{id}/export.sh": EDITOR,
    "GET /tokens": ADMIN,
    "POST /tokens": ADMIN,
    "POST /tokens/{id}/delete": ADMIN,
    "GET /users": ADMIN,
    "POST /users": ADMIN,
    "POST /users/{id}": ADMIN,
    "POST /users/{id}/delete": ADMIN,
}
TOKENS = {scope: f"tocsin_{scope}" for scope in (*ROLES, "ingest")}


class Follower:
    """The configuration, and nothing that moves."""

    def __init__(self) -> None:
        self.unreadable: dict[str, str] = {}
        tokens = [
            Token(id=f"t-{scope}", name=scope, scope=scope, token_hash=token_hash(text))  # type: ignore[arg-type]
            for scope, text in TOKENS.items()
        ]
        self.current = Configuration.of(1, {encode_record(one)[0].decode(): one for one in tokens})


class NoFeed:
    progress = 1.0


def build() -> web.Application:
    """The whole application without a broker: what gets past the guard finds nothing, or fails to write."""
    settings = ConsoleSettings.load({}, kafka=KafkaSettings({"bootstrap.servers": "127.0.0.1:1"}))
    clock, directory = SystemClock(), Directory(Follower())  # type: ignore[arg-type]
    keys = KeyRing({"k1": b"1" * 32})
    rules = Rules(EgressPolicy(), settings.retry_tiers)
    console = Console(
        settings=settings,
        clock=clock,
        health=Health(),
        directory=directory,
        editor=Editor(settings, rules, directory, lambda: keys, clock),
        sessions=Sessions(lambda: keys, 60_000),
        throttle=Throttle(),
        keys=lambda: keys,
        rules=rules,
        queries=Queries(Database()),
        systems=Systems(),
        tryout=Tryout(settings, EgressPolicy(), directory, clock),
        hub=Hub(asyncio.get_running_loop()),
        feed=NoFeed(),  # type: ignore[arg-type]
        dry_runs=DryRuns(settings, DryRunPolicy(1, 1.0)),
        lag=LagFeed(settings, clock, lambda topics: None),
    )
    api = api_routes()
    document = api_document(api)
    return application(console, all_routes(api, document), document, error_page)


def routes(app: web.Application) -> Iterator[tuple[str, str]]:
    for route in app.router.routes():
        if route.method != "HEAD":
            yield route.method, route.resource.canonical if route.resource else ""


async def ask_everybody() -> tuple[set[str], list[str]]:
    """The routes there are, and whoever got an answer that the table does not give them."""
    app = build()
    found = {f"{method} {path}" for method, path in routes(app)}
    wrong: list[str] = []
    async with TestClient(TestServer(app)) as client:
        for name in sorted(found & set(TABLE)):
            method, path = name.split(" ")
            url = re.sub(r"\{\w+\}", "unknown", path)
            for scope in (None, *TOKENS):
                headers = {"Authorization": f"Bearer {TOKENS[scope]}"} if scope else {}
                # Not JSON: what may write is refused by its reader, before it could come to the broker.
                answer = await client.request(method, url, headers=headers, data=b"{", allow_redirects=False)
                answer.close()  # a stream would go on
                let_in = answer.status not in (401, 403) and "/sign-in?next=" not in answer.headers.get("Location", "")
                if TABLE[name] == OPEN:
                    expected = True
                else:
                    expected = scope in ROLES and ROLES.index(scope) >= ROLES.index(TABLE[name])  # type: ignore[arg-type]
                if TABLE[name] != OPEN and let_in != expected:
                    wrong.append(f"{scope}: {name} answered {answer.status}")
                if answer.status >= 500 and answer.status != 503 and path not in ("/",):
                    wrong.append(f"{scope}: {name} failed with {answer.status}")
    return found, wrong


@pytest.mark.filterwarnings("default")
def test_every_route_has_a_rule_and_keeps_it() -> None:
    found, wrong = asyncio.run(ask_everybody())
    assert found - set(TABLE) == set(), "routes without a rule in this table"
    assert set(TABLE) - found == set(), "rules for routes that are gone"
    assert wrong == []


def test_the_document_names_the_role_of_each_operation() -> None:
    document = api_document(api_routes())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["x-role"] == TABLE[f"{method.upper()} {path}"]
            assert operation["responses"], path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "must be a JSON object"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": }', "line 1, column 7"),
        (b"\xff", "not UTF-8"),
        ('{"a":' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_document_is_refused_readably(text: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_json(text)


def test_a_document_that_is_too_deep_is_a_finding() -> None:
    deep: Any = "x"
    for _ in range(50):
        deep = [deep]
    findings = Findings()
    assert to_node(deep, findings) is None
    assert findings.all[0].problem == "nested too deeply"


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ("name", "/name"),
        ("webhook.headers[2].name", "/webhook/headers/2/name"),
        ("tags.a/b~c", "/tags/a~1b~0c"),
        ("", ""),
    ],
)
def test_a_field_becomes_a_json_pointer(field: str, pointer: str) -> None:
    assert pointer_of(field) == pointer
