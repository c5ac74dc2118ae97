"""What a webhook request looks like on the wire, and what hostile receivers get out of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook as StandardWebhook

from delivering import ScriptedServer, delivery_for, says, signed_with, unsigned_recipient, webhook_recipient
from support import settings_for
from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.channels.clients import http_client
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.channels.webhook import WebhookChannel
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Unavailable, Unknown
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import BasicAuthentication, HeaderSpec, Recipient, RetiredSecret, Webhook
from tocsin.shared.errors import SettingsError
from tocsin.shared.schemas.delivery import RenderedBody
from tocsin.shared.secrets import load_key_ring

Say = Callable[[int, bytes, socket.socket], None]


CLIENT = "lean"


@pytest.fixture(autouse=True, params=["lean", "aiohttp"])
def client(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything here holds for both clients."""
    global CLIENT  # noqa: PLW0603
    CLIENT = request.param
    yield
    CLIENT = "lean"


def settings(tmp_path: Path, **given: object) -> DispatcherSettings:
    given = {"egress_allow": "127.0.0.0/8", "egress_http": True, "http_client": CLIENT, **given}
    return settings_for("127.0.0.1:1", tmp_path, DispatcherSettings, **given)


def send(settings: DispatcherSettings, *recipients: Recipient) -> list[Outcome]:
    """To each in turn, over one channel."""

    async def scenario() -> list[Outcome]:
        channel = WebhookChannel(settings.egress_policy, Vault(settings), SystemClock(), http_client(settings))
        outcomes = []
        for recipient in recipients:
            delivery = delivery_for(recipient)
            outcomes.append(await channel.send(Parcel(delivery, recipient, channel.render(delivery, recipient))))
        await channel.close()
        return outcomes

    return asyncio.run(scenario())


def headers_of(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def test_put_basic_plain_and_sensitive_headers(tmp_path: Path) -> None:
    ring = load_key_ring(None, settings(tmp_path).key_file(), create=True)
    with ScriptedServer(says("200 OK")) as server:
        webhook = Webhook(
            url=server.url,
            method="PUT",
            authentication=BasicAuthentication(
                username="jürgen", password=ring.encrypt("pä:ss", "r1", "webhook.authentication.password")
            ),
            headers=(
                HeaderSpec(name="X-Env", value="prod"),
                HeaderSpec(name="X-Key", secret=ring.encrypt("hush", "r1", "webhook.headers.x-key")),
                HeaderSpec(name="Content-Type", value="application/vnd.custom+json"),
            ),
        )
        recipient = Recipient(id="r1", name="R", type="system", webhook=webhook)
        assert send(settings(tmp_path), recipient) == [Accepted(200)]
    (request,) = server.requests
    assert request.startswith(b"PUT /hook HTTP/1.1\r\n")
    headers = headers_of(request)
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == "jürgen:pä:ss"
    assert (headers["x-env"], headers["x-key"]) == ("prod", "hush")
    assert headers["content-type"] == "application/vnd.custom+json"
    assert headers["accept-encoding"] == "identity"
    assert headers["webhook-id"] == delivery_id_of(request)
    assert "webhook-signature" not in headers
    assert "cookie" not in headers
    assert int(headers["content-length"]) == len(request.partition(b"\r\n\r\n")[2])


def delivery_id_of(request: bytes) -> str:
    assert json.loads(request.partition(b"\r\n\r\n")[2])["eventId"]
    return headers_of(request)["webhook-id"]


def test_each_scheme_signs_what_goes_over_the_wire_and_a_retired_secret_signs_too(tmp_path: Path) -> None:
    made, now = settings(tmp_path), SystemClock().now_ms()
    pair = "whsk_" + base64.b64encode(b"e" * 32).decode()
    old = signed_with(made, "r1", "old one")
    retired = tuple(RetiredSecret(secret=old.secret, scheme="standard", until=now + left) for left in (60_000, -60_000))
    with ScriptedServer(says("200 OK")) as server:
        for authentication in (
            signed_with(made, "r1", "new one", retired=retired),
            signed_with(made, "r1", pair, scheme="ed25519"),
            signed_with(made, "r1", "It's a Secret", scheme="github"),
            signed_with(made, "r1", "shown as it is", scheme="header", header="X-Token"),
        ):
            webhook = Webhook(url=server.url, authentication=authentication)
            assert send(made, Recipient(id="r1", name="R", type="system", webhook=webhook)) == [Accepted(200)]
    standard, ed25519, github, plain = ((headers_of(one), one.partition(b"\r\n\r\n")[2]) for one in server.requests)
    assert len(standard[0]["webhook-signature"].split(" ")) == 2, "new, retired; not the one whose time is over"
    for secret in ("new one", "old one"):
        assert StandardWebhook(base64.b64encode(secret.encode()).decode()).verify(standard[1], standard[0])
    signed = f"{ed25519[0]['webhook-id']}.{ed25519[0]['webhook-timestamp']}.".encode() + ed25519[1]
    signature = base64.b64decode(ed25519[0]["webhook-signature"].removeprefix("v1a,"))
    Ed25519PrivateKey.from_private_bytes(b"e" * 32).public_key().verify(signature, signed)
    assert github[0]["x-hub-signature-256"] == "sha256=" + hmac.digest(b"It's a Secret", github[1], "sha256").hex()
    assert plain[0]["x-token"] == "shown as it is"
    assert all("webhook-id" in headers for headers, _ in (github, plain))


def test_without_keys_the_delivery_fails_with_a_reason_and_goes_once_they_are_there(tmp_path: Path) -> None:
    made = settings(tmp_path)
    with ScriptedServer(says("200 OK")) as server:
        recipient = webhook_recipient(made, server.url)
        hidden = made.key_file().rename(tmp_path / "elsewhere")
        (outcome,) = send(made, recipient)
        assert isinstance(outcome, Unavailable)
        assert outcome.reason == "secret_unavailable"
        assert "TOCSIN_SECRET_KEYS" in outcome.detail
        assert server.requests == []
        hidden.rename(made.key_file())
        assert send(made, recipient) == [Accepted(200)]


def test_a_secret_moved_from_another_recipient_does_not_open(tmp_path: Path) -> None:
    made = settings(tmp_path)
    with ScriptedServer(says("200 OK")) as server:
        stolen = webhook_recipient(made, server.url).model_copy(update={"id": "other"})
        (outcome,) = send(made, stolen)
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "secret_unavailable"
    assert server.requests == []


def test_a_redirect_is_a_failure_and_is_not_followed(tmp_path: Path) -> None:
    with (
        ScriptedServer(says("200 OK")) as target,
        ScriptedServer(says("302 Found", f"Location: {target.url}")) as first,
    ):
        (outcome,) = send(settings(tmp_path), unsigned_recipient(first.url))
    assert outcome == Unavailable("http_302", 302)
    assert target.requests == []


def drip_head(nth: int, request: bytes, connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200:
            connection.send(bytes([letter]))
            time.sleep(0.05)  # what it does


def drip_body(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(200):
            connection.send(b"x")
            time.sleep(0.05)  # what it does


@pytest.mark.parametrize("drip", [drip_head, drip_body])
def test_the_timeout_is_a_total_and_not_per_read(tmp_path: Path, drip: Say) -> None:
    with ScriptedServer(drip) as server:
        started = time.monotonic()
        (outcome,) = send(settings(tmp_path), unsigned_recipient(server.url, timeout=1000))
        assert 0.9 < time.monotonic() - started < 7  # the whole answer would take ten
    assert outcome == Unavailable("timeout")


def endless(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"y" * 65536)


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    with ScriptedServer(endless) as server:
        started = time.monotonic()
        (outcome,) = send(settings(tmp_path), unsigned_recipient(server.url))
        assert time.monotonic() - started < 3
    assert outcome == Accepted(200, "y" * 1024)


def test_a_compressed_answer_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    with ScriptedServer(says("500 No", "Content-Encoding: gzip", body=bomb)) as server:
        (outcome,) = send(settings(tmp_path), unsigned_recipient(server.url))
    assert isinstance(outcome, Unavailable)
    assert "0000" not in outcome.excerpt


def no_http(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.sendall(b"not http\r\n\r\n")


def half_an_answer(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says("200 OK", "Set-Cookie: a=b"), Accepted(200)),
        (says("503 No", "Retry-After: 7"), Unavailable("http_503", 503, retry_after_ms=7000)),
        (says("503 No", "Retry-After: soon"), Unavailable("http_503", 503)),
        (no_http, Unavailable("bad_response")),
        (half_an_answer, Unknown("connection_lost")),
    ],
    ids=["cookie", "retry-after", "junk retry-after", "no http", "half an answer"],
)
def test_answers(tmp_path: Path, answer: Say, expected: Outcome) -> None:
    with ScriptedServer(answer) as server:
        recipient = unsigned_recipient(server.url)
        first, _ = send(settings(tmp_path), recipient, recipient)
    assert first == expected
    assert all("cookie" not in headers_of(request) for request in server.requests)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "127.1", "0", "017700000001"]
)
def test_no_packet_goes_to_an_address_that_is_not_allowed(tmp_path: Path, host: str) -> None:
    with ScriptedServer(says("200 OK")) as server:
        url = f"http://{host}:{server.port}/"
        (outcome,) = send(settings(tmp_path, egress_allow=""), unsigned_recipient(url))
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "egress_denied"
    assert server.requests == []


def test_plain_http_needs_a_setting_and_a_url_holds_no_password(tmp_path: Path) -> None:
    with ScriptedServer(says("200 OK")) as server:
        (plain,) = send(settings(tmp_path, egress_http=False), unsigned_recipient(server.url))
        (user,) = send(settings(tmp_path), unsigned_recipient(server.url.replace("//", "//user:pass@")))
    assert [one.reason for one in (plain, user) if isinstance(one, Unavailable)] == ["egress_denied"] * 2
    assert server.requests == []


@pytest.mark.parametrize("evil", ["text/plain\r\nX-Injected: 1", "text/plain\nX: 1", "a/b\0", "a/b\r"])
def test_no_line_is_smuggled_into_a_request(tmp_path: Path, evil: str) -> None:
    """As if a record had got past the checks."""
    made = settings(tmp_path)
    with ScriptedServer(says("200 OK")) as server:
        recipient = unsigned_recipient(server.url)
        delivery = delivery_for(recipient)

        async def scenario() -> Outcome:
            channel = WebhookChannel(made.egress_policy, Vault(made), SystemClock(), http_client(made))
            outcome = await channel.send(Parcel(delivery, recipient, RenderedBody(content_type=evil, text="x")))
            await channel.close()
            return outcome

        outcome = asyncio.run(scenario())
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "misconfigured"
    assert server.requests == []


def test_keys_that_are_none_are_told_at_the_start_and_not_by_a_delivery(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TOCSIN_SECRET_KEYS: an entry is not") as told:
        Vault(settings(tmp_path, secret_keys="k1:mistyped"))
    assert "mistyped" not in str(told.value)


def test_a_recipient_that_was_changed_is_sent_to_as_it_is_now(tmp_path: Path) -> None:
    with ScriptedServer(says("200 OK")) as server:
        before = unsigned_recipient(server.url)
        assert before.webhook is not None
        after = before.model_copy(update={"webhook": before.webhook.model_copy(update={"method": "PUT"})})
        send(settings(tmp_path), before, after, before)
    assert [request.split()[0] for request in server.requests] == [b"POST", b"PUT", b"POST"]


def test_bad_tls_and_unknown_names_have_reasons_of_their_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer_in_clear() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad request\r\n\r\n")

        threading.Thread(target=answer_in_clear, daemon=True).start()
        tls, name = send(
            settings(tmp_path),
            unsigned_recipient(f"https://127.0.0.1:{plain.getsockname()[1]}/", timeout=2000),
            unsigned_recipient("http://no-such-host.invalid/", timeout=5000),
        )
    assert isinstance(tls, Unavailable)
    assert isinstance(name, Unavailable)
    assert (tls.reason, name.reason) == ("tls", "dns")
