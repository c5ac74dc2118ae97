"""The console's API over a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from consoling import PASSWORD, Client, RunningConsole, console_settings, with_accounts
from support import read_all
from tocsin.deploy.stack import Stack
from tocsin.shared.topics import CONFIGURATION, CONFIGURATION_AUDIT

pytestmark = pytest.mark.kafka

SENSOR = {"name": "CPU busy", "metric": "cpu.percent", "trigger": "> 90"}
HOOK = {
    "name": "ServiceNow",
    "type": "system",
    "webhook": {
        "url": "https://example.com/hook",
        "authentication": {"type": "signed-secret", "secret": "canary-secret"},
        "headers": [{"name": "X-Key", "value": "canary-header", "sensitive": True}],
    },
}


@pytest.fixture(scope="module")
def running(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    settings = console_settings(stack, tmp_path_factory.mktemp("console"))
    with_accounts(settings)
    with RunningConsole(settings) as console:
        yield console


@pytest.fixture
def editor(running: RunningConsole) -> Client:
    return running.client("editor")


def made(client: Client, kind: str, document: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = client("POST", f"/api/v1/{kind}s", document, **headers)
    assert answer.status == 201, answer.text
    return dict(answer.json())


def test_a_record_is_created_shown_replaced_and_deleted(editor: Client) -> None:
    sensor = made(editor, "sensor", {**SENSOR, "name": "Round trip"})
    path = f"/api/v1/sensors/{sensor['id']}"
    shown = editor.get(path)
    assert shown.json() == sensor
    etag = shown.headers["ETag"]
    # What was shown can be sent back with a change.
    replaced = editor("PUT", path, {**shown.json(), "trigger": "> 95"}, If_Match=etag)
    assert (replaced.status, replaced.json()["trigger"]) == (200, "> 95")
    assert editor("PUT", path, {**SENSOR, "name": "Round trip"}, If_Match=etag).status == 412
    assert editor("PUT", path, {**SENSOR, "name": "Round trip"}).status == 428
    assert editor("DELETE", path, If_Match=etag).status == 412
    assert editor("DELETE", path, If_Match=replaced.headers["ETag"]).status == 204
    assert editor.get(path).status == 404


def test_a_rename_keeps_the_id(editor: Client) -> None:
    sensor = made(editor, "sensor", {**SENSOR, "name": "Old name"})
    path = f"/api/v1/sensors/{sensor['id']}"
    renamed = editor("PUT", path, {**SENSOR, "name": "New name"}, If_Match="*")
    assert (renamed.status, renamed.json()["id"], renamed.json()["name"]) == (200, sensor["id"], "New name")
    assert editor.get("/api/v1/sensors?name=old%20NAME").json()["items"] == []


def test_each_bad_field_is_pointed_to(editor: Client) -> None:
    webhook = {"url": "https://10.0.0.1/x", "headers": [{"name": "Host", "value": "a"}], "body": "@{nme}"}
    answer = editor("POST", "/api/v1/recipients", {"name": "Bad", "type": "system", "webhook": webhook, "x": 1})
    assert answer.status == 422
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert pointers == {"/webhook/url", "/webhook/headers/0/name", "/webhook/body", "/x"}


def test_a_name_is_taken_whatever_its_case(editor: Client) -> None:
    made(editor, "recipient", {"name": "On call", "type": "distribution-list", "email": "a@example.com"})
    answer = editor("POST", "/api/v1/recipients", {"name": "ON CALL", "type": "distribution-list", "email": "b@e.com"})
    assert answer.status == 422
    assert answer.json()["errors"][0]["pointer"] == "/name"
    assert "already taken" in answer.json()["errors"][0]["detail"]


def test_secrets_are_written_and_never_shown(editor: Client, running: RunningConsole) -> None:
    recipient = made(editor, "recipient", HOOK)
    assert recipient["webhook"]["authentication"] == {"type": "signed-secret", "secret": {"keep": True}}
    path = f"/api/v1/recipients/{recipient['id']}"
    kept = editor("PUT", path, {**recipient, "description": "kept"}, If_Match="*")
    assert kept.status == 200
    everything = kept.text + editor.get("/api/v1/recipients").text + running.client("admin").get("/api/v1/users").text
    topics = b"".join(
        message.value() or b""
        for topic in (CONFIGURATION, CONFIGURATION_AUDIT)
        for message in read_all(running.settings, topic)
    )
    assert "canary" not in everything
    assert b"canary" not in topics


def test_a_document_cannot_read_the_servers_environment(editor: Client) -> None:
    webhook = {"url": "https://example.com", "headers": [{"name": "X-Path", "value": {"env": "PATH"}}]}
    answer = editor("POST", "/api/v1/recipients", {"name": "Thief", "type": "system", "webhook": webhook})
    assert answer.status == 422


def test_the_same_key_makes_one_record(editor: Client) -> None:
    document = {**SENSOR, "name": "Once"}
    first = made(editor, "sensor", document, Idempotency_Key="k-1")
    again = made(editor, "sensor", document, Idempotency_Key="k-1")
    assert first == again
    other = editor("POST", "/api/v1/sensors", {**document, "name": "Twice"}, Idempotency_Key="k-1")
    assert other.status == 422


def test_lists_go_on_by_cursor(editor: Client) -> None:
    for number in range(5):
        made(editor, "group", {"name": f"Group {number}", "systems": [f"G{number}-*"]})
    names: list[str] = []
    path: str | None = "/api/v1/groups?limit=2"
    while path:
        page = editor.get(path).json()
        assert len(page["items"]) <= 2
        names += [item["name"] for item in page["items"]]
        path = f"/api/v1/groups?limit=2&cursor={page['next']}" if page["next"] else None
    assert names == [f"Group {number}" for number in range(5)]
    assert editor.get("/api/v1/groups?cursor=nonsense").status == 400


def test_what_is_in_use_cannot_be_deleted(editor: Client) -> None:
    sensor = made(editor, "sensor", {**SENSOR, "name": "Used"})
    recipient = made(editor, "recipient", {"name": "Last", "type": "distribution-list", "email": "l@example.com"})
    made(editor, "notification", {"name": "N", "sensors": ["Used"], "threshold": 1, "recipients": ["Last"]})
    answer = editor("DELETE", f"/api/v1/sensors/{sensor['id']}", If_Match="*")
    assert (answer.status, "'N'" in answer.json()["detail"]) == (409, True)
    answer = editor("DELETE", f"/api/v1/recipients/{recipient['id']}", If_Match="*")
    assert (answer.status, "'N'" in answer.json()["detail"]) == (409, True)


def test_two_consoles_writing_at_once_lose_nothing(running: RunningConsole, editor: Client) -> None:
    with RunningConsole(running.settings) as other, ThreadPoolExecutor(8) as pool:
        clients = [editor, other.client("editor")]
        names = [f"Race {number // 2}" for number in range(12)]
        answers = list(
            pool.map(
                lambda job: clients[job[0] % 2]("POST", "/api/v1/sensors", {**SENSOR, "name": job[1]}),
                enumerate(names),
            )
        )
    # Each name was asked for twice, once at each console: one got it, the other was told.
    assert sorted(answer.status for answer in answers) == [201] * 6 + [422] * 6
    found = editor.get("/api/v1/sensors?search=race").json()["items"]
    assert sorted(item["name"] for item in found) == sorted(set(names))


def test_every_change_is_audited_with_its_author(editor: Client, running: RunningConsole) -> None:
    made(editor, "sensor", {**SENSOR, "name": "Audited"})
    records = [json.loads(message.value() or b"") for message in read_all(running.settings, CONFIGURATION_AUDIT)]
    found = next(record for record in records if record["name"] == "Audited")
    assert (found["actor"], found["action"]) == ("token:editor-token", "created")


def test_signing_in_makes_a_cookie_that_scripts_and_other_sites_cannot_use(running: RunningConsole) -> None:
    client = Client(running.port)
    assert client.get("/api/v1/me").status == 401
    answer = client.form("/sign-in?next=/recipients", name="ADMIN", password=PASSWORD)
    assert (answer.status, answer.headers["Location"]) == (303, "/recipients")
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=Lax"))
    assert client.get("/api/v1/me").json() == {"kind": "user", "name": "admin", "scope": "admin"}
    assert client.form("/sign-in?next=//evil.example", name="admin", password=PASSWORD).headers["Location"] == "/"


def test_a_session_writes_only_with_its_csrf_token(running: RunningConsole) -> None:
    client = running.browser()
    document = {**SENSOR, "name": "By a browser"}
    assert client("POST", "/api/v1/sensors", document).status == 403
    assert client("POST", "/api/v1/sensors", document, X_CSRF_Token="wrong").status == 403
    assert client("POST", "/api/v1/sensors", document, X_CSRF_Token=client.csrf()).status == 201


def test_signing_out_ends_the_session_and_a_new_password_ends_all(running: RunningConsole) -> None:
    admin = running.client("admin")
    user = admin("POST", "/api/v1/users", {"name": "Eve", "role": "viewer", "password": PASSWORD}).json()
    first, second = running.browser("Eve"), running.browser("Eve")
    assert (
        first("POST", "/sign-out", f"csrf={first.csrf()}", Content_Type="application/x-www-form-urlencoded").status
        == 303
    )
    stale = Client(running.port, cookie=second.cookie)
    assert stale.get("/api/v1/me").status == 200
    path = f"/api/v1/users/{user['id']}"
    assert admin("PATCH", path, {"password": "another good one"}, If_Match="*").status == 200
    assert stale.get("/api/v1/me").status == 401


def test_guessing_is_slowed_down(running: RunningConsole) -> None:
    client = Client(running.port)
    statuses = [client.form("/sign-in", name="victim", password=f"guess {n}").status for n in range(11)]
    assert statuses == [401] * 10 + [429]


def test_the_last_admin_stays(running: RunningConsole) -> None:
    admin = running.client("admin")
    users = {user["name"]: user for user in admin.get("/api/v1/users").json()["items"]}
    path = f"/api/v1/users/{users['admin']['id']}"
    assert admin("DELETE", path, If_Match="*").status == 409
    assert admin("PATCH", path, {"role": "viewer"}, If_Match="*").status == 409


def test_a_token_is_shown_once_and_ends_when_it_is_revoked(running: RunningConsole) -> None:
    admin = running.client("admin")
    made_ = admin("POST", "/api/v1/tokens", {"name": "CI", "scope": "viewer"}).json()
    assert made_["token"].startswith("tocsin_")
    client = Client(running.port, {"Authorization": f"Bearer {made_['token']}"})
    assert client.get("/api/v1/me").json()["name"] == "CI"
    assert made_["token"] not in admin.get("/api/v1/tokens").text
    assert admin("DELETE", f"/api/v1/tokens/{made_['id']}").status == 204
    assert client.get("/api/v1/me").status == 401


def test_pages_bind_the_browser(running: RunningConsole) -> None:
    headers = Client(running.port).get("/sign-in").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_health_is_open_and_the_document_describes_the_api(running: RunningConsole, tmp_path: Path) -> None:
    client = Client(running.port)
    assert client.get("/-/ready").json() == {"status": "ok"}
    assert client.get("/-/healthy").status == 200
    assert b"tocsin_configuration_change" in client.get("/metrics").body
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert "/api/v1/recipients/{id}" in document["paths"]
