"""A canary in every place that holds a secret, a full run with failures, and then a search for it everywhere.

Searched: every topic (keys, values, and headers, the trace's among them), the logs of all services from the gateway to
the dispatcher, their metrics and health pages, the gateway's and the console's answers to good and bad requests, and
what the commands print, errors in settings too. The receivers echo each request, headers and all.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from consoling import Client, RunningConsole, console_settings, with_accounts
from delivering import ScriptedServer, audits, terminals
from mail_servers import MailServer
from support import eventually, read_all
from tocsin.console.settings import ConsoleSettings
from tocsin.deploy.fleet import PIPELINE, TOCSIN, Fleet, Member
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.ports import free_port
from tocsin.dispatcher.core.signing import generate_secret
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.times import format_rfc3339
from tocsin.shared.topics import (
    CONFIGURATION,
    CONFIGURATION_AUDIT,
    DELIVERY_DEAD_LETTER,
)

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CANARY = "canary7f3a9c"
URL_CANARY = "urlcanary51d2"
"""Part of the recipients' URLs: some services' URLs are as good as a secret. Only the configuration holds them."""

SECRETS = {
    name: f"{CANARY}-{name}"
    for name in (
        *("signing", "retired", "header-scheme", "github", "password", "header", "smtp", "broken"),
        *("gateway", "guessed", "broker", "redis"),
    )
}
KEY = base64.b64encode(f"{CANARY}-the-key-ring-own-key"[:32].encode()).decode()
PAIR = base64.b64encode(f"tocsin:{SECRETS['password']}".encode()).decode()
SERVICES = ("gateway", *PIPELINE)
LOGIN = base64.b64encode(f"\0tocsin\0{SECRETS['smtp']}".encode()).decode()
ED25519 = generate_secret("ed25519")
FORBIDDEN = [CANARY, PAIR, KEY, ED25519, base64.b64encode(SECRETS["smtp"].encode()).decode(), LOGIN]


def echoes(status: str) -> Callable[[int, bytes, socket.socket], None]:
    """The whole request as the answer's body, as debugging pages do."""

    def say(nth: int, request: bytes, connection: socket.socket) -> None:
        # The headers come first: an excerpt holds the beginning only.
        body = b"You sent: " + request
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return say


def recipients(good: str, bad: str, nowhere: str, strange: str) -> list[dict[str, Any]]:
    def hook(name: str, url: str, **webhook: Any) -> dict[str, Any]:
        return {"name": name, "type": "system", "webhook": {"url": f"{url}/{URL_CANARY}?t={URL_CANARY}", **webhook}}

    def signed(secret: str, **given: Any) -> dict[str, Any]:
        return {"type": "signed-secret", "secret": secret, **given}

    basic = {"type": "basic", "username": "tocsin", "password": SECRETS["password"]}
    header = [{"name": "X-Key", "value": SECRETS["header"], "sensitive": True}]
    shown = {"scheme": "header", "header": "X-Token"}
    return [
        hook("Signed, good", good, authentication=signed(SECRETS["signing"]), headers=header),
        hook("Signed, bad", bad, authentication=signed(SECRETS["signing"]), headers=header),
        hook("Basic, bad", bad, authentication=basic, headers=header, method="PUT"),
        hook("Basic, nowhere", nowhere, authentication=basic, headers=header),
        hook("Header, bad", bad, authentication=signed(SECRETS["header-scheme"], **shown)),
        hook("Header, good", good, authentication=signed(SECRETS["header-scheme"], **shown)),
        hook("GitHub, bad", bad, authentication=signed(SECRETS["github"], scheme="github")),
        hook("Public key, bad", bad, authentication=signed(ED25519, scheme="ed25519")),
        hook("Broken TLS", strange, authentication=basic, headers=header),
        {"name": "Mailed", "type": "distribution-list", "email": "oncall@example.com"},
    ]


BAD_REQUESTS: list[dict[str, Any]] = [
    {"authentication": {"type": "signed-secret", "secret": f"whsec_{SECRETS['broken']} no base64"}},
    {"authentication": {"type": "signed-secret", "secret": f"whsk_{SECRETS['broken']}", "scheme": "ed25519"}},
    {"authentication": {"type": "signed-secret", "scheme": "header", "header": "X", "secret": f"{CANARY}\r\n"}},
    {"authentication": {"type": "basic", "username": "a:b", "password": SECRETS["broken"]}},
    {"headers": [{"name": "X", "value": f"{SECRETS['broken']}\r\nInjected: x", "sensitive": True}]},
    {"headers": [{"name": "X", "value": SECRETS["broken"] * 400, "sensitive": True}]},
    {"headers": [{"name": "X", "value": [SECRETS["broken"]], "sensitive": True}]},
    {"url": f"https://tocsin:{SECRETS['broken']}@example.com/"},
    {"url": f"https://tocsin:{SECRETS['broken']}@example.com:port/"},
]  # fmt: skip


def bad_request(webhook: dict[str, Any]) -> dict[str, Any]:
    return {"name": "Bad", "type": "system", "webhook": {"url": "https://example.com/", **webhook}}


def test_no_secret_is_anywhere_but_encrypted(stack: Stack, tmp_path: Path) -> None:
    settings = console_settings(stack, tmp_path, secret_keys=f"k1:{KEY}")
    with_accounts(settings)
    seen: dict[str, str] = {}
    authority = Authority.made_in(tmp_path)
    refuses = {"AUTH": f"535 5.7.8 no: {SECRETS['smtp']}\r\n".encode()}
    with (
        ScriptedServer(echoes("200 OK")) as good,
        ScriptedServer(echoes("500 Debug page")) as bad,
        MailServer(refuses, tls=authority.server(), implicit=True, login=("tocsin", "another")) as mail,
        RunningConsole(settings) as console,
    ):
        closed = socket.create_server(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        closed.close()
        # Of an authority that is trusted for mail only.
        documents = recipients(good.url, bad.url, nowhere, f"https://127.0.0.1:{mail.port}")
        ids = _configure(console.client("editor"), documents, seen)
        _notify(console.client("editor"))
        gateway = free_port()
        environment = _environment(stack, settings, gateway, mail.port) | {"TOCSIN_SMTP_CA_FILE": str(authority.file)}
        logs = tmp_path / "logs"
        with Supervisor() as supervisor, ThreadPoolExecutor() as pool:
            fleet = Fleet(supervisor, logs, environment)
            for service in SERVICES:
                fleet.start(service)
            # Beside the services: most of their time these start, too.
            printed = _printed(pool, environment)
            fleet.wait_ready(90)
            _read(f"http://127.0.0.1:{gateway}/v1/readings", seen)
            eventually(lambda: len(terminals(settings)) >= len(ids), within=90)
            printed |= _printed_afterwards(pool, environment)
            for member in fleet.members.values():
                seen |= _pages(member)
            seen |= {name: one.result() for name, one in printed.items()}
        seen |= {f"log {service}": (logs / f"{service}.log").read_text() for service in SERVICES}
    seen |= _topics(settings)
    _check_that_it_happened(settings, good, bad)
    assert f"AUTH PLAIN {LOGIN}" in mail.commands
    for place, text in seen.items():
        for secret in FORBIDDEN:
            assert secret not in text, f"{place}: {text[max(0, text.find(secret) - 200) : text.find(secret) + 60]}"
        if not place.startswith(("answer", "printed", f"topic {CONFIGURATION}", f"topic {CONFIGURATION_AUDIT}")):
            assert URL_CANARY not in text, place


def _environment(stack: Stack, settings: ConsoleSettings, gateway: int, mail: int) -> dict[str, str]:
    """Of all services, with a secret wherever one may be set."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "TOCSIN_KAFKA__SASL_USERNAME": "tocsin",  # of no use on this listener, but there to be said
        "TOCSIN_KAFKA__SASL_PASSWORD": SECRETS["broker"],
        "TOCSIN_REDIS_URL": f"redis://tocsin:{SECRETS['redis']}@127.0.0.1:{free_port()}/0",
        "TOCSIN_STATE_DIR": str(settings.state_dir),
        "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
        "TOCSIN_RETRY_TIERS": "200ms,500ms",
        "TOCSIN_EGRESS_ALLOW": "127.0.0.0/8",
        "TOCSIN_EGRESS_HTTP": "true",
        "TOCSIN_GATEWAY_PORT": str(gateway),
        "TOCSIN_GATEWAY_API_KEYS": SECRETS["gateway"],
        "TOCSIN_SECRET_KEYS": f"k1:{KEY}",
        "TOCSIN_SMTP_HOST": "localhost",
        "TOCSIN_SMTP_PORT": str(mail),
        "TOCSIN_SMTP_TLS": "tls",
        "TOCSIN_SMTP_USERNAME": "tocsin",
        "TOCSIN_SMTP_PASSWORD": SECRETS["smtp"],
        "TOCSIN_LOG_LEVEL": "debug",
        "TOCSIN_LOG_FORMAT": "json",
    }


def _configure(editor: Client, documents: list[dict[str, Any]], seen: dict[str, str]) -> list[str]:
    """The recipients, one of them with a rotation behind it; and requests that are refused."""
    first = json.loads(json.dumps(documents[0]))
    first["webhook"]["authentication"]["secret"] = SECRETS["retired"]
    ids = []
    for document in [first, *documents[1:]]:
        answer = editor("POST", "/api/v1/recipients", document)
        assert answer.status == 201, answer.text
        seen[f"answer to {document['name']}"] = answer.text
        ids.append(answer.json()["id"])
    rotated = editor("PUT", f"/api/v1/recipients/{ids[0]}", documents[0], If_Match="*")
    assert rotated.status == 200, rotated.text
    seen["answer to the rotation"] = rotated.text
    for number, webhook in enumerate(BAD_REQUESTS):
        answer = editor("POST", "/api/v1/recipients", bad_request(webhook))
        assert answer.status in (400, 422), (number, answer.status, answer.text)
        seen[f"answer to bad request {number}"] = answer.text
    seen["answer of the list"] = editor.get("/api/v1/recipients").text
    return ids


def _notify(editor: Client) -> None:
    """A notification with all of them."""
    sensor = editor("POST", "/api/v1/sensors", {"name": "S", "metric": "m", "trigger": "> 1"})
    names = [one["name"] for one in editor.get("/api/v1/recipients").json()["items"]]
    document = {"name": "N", "sensors": ["S"], "threshold": 1, "recipients": names}
    made = editor("POST", "/api/v1/notifications", document)
    assert (sensor.status, made.status) == (201, 201), made.text


def _read(url: str, seen: dict[str, str]) -> None:
    """A reading that triggers, sent with the key; and requests that are refused."""
    now = format_rfc3339(SystemClock().now_ms())
    reading = json.dumps({"system": "PC-1", "metric": "m", "value": 2, "time": now}).encode()
    attempts = {
        "good": (SECRETS["gateway"], reading, 202),
        "a guessed key": (SECRETS["guessed"], reading, 401),
        "a key and more": (f"{SECRETS['gateway']} and more", reading, 401),
        "no JSON": (SECRETS["gateway"], b"{", 400),
    }
    for name, (key, body, status) in attempts.items():
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        answer = _asked(urllib.request.Request(url, body, headers))
        assert answer[0] == status, (name, answer)
        seen[f"answer of the gateway to {name}"] = answer[1]


def _asked(request: str | urllib.request.Request) -> tuple[int, str]:
    """Status, and everything that was said."""
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, str(answer.headers) + answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, str(error.headers) + error.read().decode()


def _pages(member: Member) -> dict[str, str]:
    """Metrics and health of this process."""
    base = f"http://127.0.0.1:{member.http_port}"
    return {f"{member.name}{path}": _asked(base + path)[1] for path in ("/metrics", "/-/ready", "/-/healthy")}


def _printed(pool: Executor, environment: dict[str, str]) -> dict[str, Future[str]]:
    """What commands say of the configuration, and of settings that are wrong, beside a secret."""

    def wrong(service: str, **given: str) -> str:
        ran = _run(["run", service], {**environment, **given})
        assert ran.returncode == 2, ran.stderr
        return ran.stdout + ran.stderr

    return {
        "printed by export": pool.submit(_command, environment, "export"),
        "printed by get": pool.submit(_command, environment, "get", "recipients"),
        "printed with a wrong key": pool.submit(wrong, "dispatcher", TOCSIN_SECRET_KEYS=f"k1:{KEY}!"),
        "printed with a wrong setting": pool.submit(wrong, "dispatcher", TOCSIN_SMTP_TLS="perhaps"),
        "printed by the gateway": pool.submit(wrong, "gateway", TOCSIN_GATEWAY_PORT="perhaps"),
    }


def _printed_afterwards(pool: Executor, environment: dict[str, str]) -> dict[str, Future[str]]:
    return {
        "printed by dead-letters": pool.submit(_command, environment, "dead-letters", "list", "--json"),
        "printed by ledger": pool.submit(_command, environment, "ledger", "--json"),
    }


def _command(environment: dict[str, str], *arguments: str) -> str:
    ran = _run(arguments, environment)
    assert ran.stdout, ran.stderr
    return ran.stdout + ran.stderr


def _run(arguments: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOCSIN, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _topics(settings: ConsoleSettings) -> dict[str, str]:
    """All there are under this prefix, as text."""
    consumer = kafka.consumer(settings.kafka, "canary")
    names = [name for name in consumer.list_topics(timeout=10).topics if name.startswith(settings.topic_prefix)]
    consumer.close()
    assert len(names) > 10
    found = {}
    for name in names:
        topic = name.removeprefix(settings.topic_prefix)
        records = read_all(settings, topic, isolation="read_uncommitted")
        found[f"topic {topic}"] = "\n".join(
            repr((message.key(), message.headers())) + (message.value() or b"").decode("utf-8", "replace")
            for message in records
        )
    return found


def _check_that_it_happened(settings: ConsoleSettings, good: ScriptedServer, bad: ScriptedServer) -> None:
    """Otherwise finding nothing would mean nothing."""
    sent = b"".join(good.requests + bad.requests).decode()
    for name in ("header-scheme", "header"):
        assert SECRETS[name] in sent
    assert PAIR in sent
    signatures = [request for request in good.requests if b"webhook-signature" in request.lower()]
    assert any(request.count(b"v1,") == 2 for request in signatures), "the retired secret signs, too"
    excerpts = [record.response_excerpt or "" for record in audits(settings, "attempt")]
    assert any("X-Key: ***" in excerpt for excerpt in excerpts)
    assert any("X-Token: ***" in excerpt for excerpt in excerpts)
    assert any("Basic ***" in excerpt for excerpt in excerpts)
    assert len(read_all(settings, DELIVERY_DEAD_LETTER)) >= 7
