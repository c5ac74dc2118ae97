"""The receivers of docs/verify, in five languages, on requests that the webhook channel really sent."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from delivering import ScriptedServer, delivery_for, event_of, says, signed_with
from support import settings_for
from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.channels.webhook import WebhookChannel
from tocsin.dispatcher.core.outcomes import Accepted
from tocsin.dispatcher.core.signing import generate_secret, public_key
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Recipient, RetiredSecret, SignedSecret, Webhook

VERIFIERS = Path(__file__).parents[2] / "docs" / "verify"
TYPED, GENERATED, PRIVATE = "any text: ö ✓ 'quoted'", generate_secret(), generate_secret("ed25519")
HOUR = 3_600_000


@dataclass(frozen=True)
class Recorded:
    """A request as it came."""

    id: str
    timestamp: str
    signatures: str
    body: bytes


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    """One signed with a generated secret, one with ed25519, and one in the middle of a rotation."""
    made = settings_for(
        "127.0.0.1:1",
        tmp_path_factory.mktemp("keys"),
        DispatcherSettings,
        egress_allow="127.0.0.0/8",
        egress_http=True,
    )
    until = SystemClock().now_ms() + HOUR
    old = RetiredSecret(secret=signed_with(made, "r1", GENERATED).secret, scheme="standard", until=until)
    authentications = {
        "generated": signed_with(made, "r1", GENERATED),
        "rotating": signed_with(made, "r1", TYPED, retired=(old,)),
        "ed25519": signed_with(made, "r1", PRIVATE, scheme="ed25519"),
    }
    return {name: _record(made, authentication) for name, authentication in authentications.items()}


def _record(settings: DispatcherSettings, authentication: SignedSecret) -> Recorded:
    async def scenario(url: str) -> None:
        channel = WebhookChannel(settings.egress_policy, Vault(settings), SystemClock())
        webhook = Webhook(url=url, authentication=authentication)
        recipient = Recipient(id="r1", name="R", type="system", webhook=webhook)
        delivery = delivery_for(recipient, event=event_of(description="Größer als 90 %, \"sagt\" 🔔\n'er'"))
        outcome = await channel.send(Parcel(delivery, recipient, channel.render(delivery, recipient)))
        await channel.close()
        assert outcome == Accepted(200)

    with ScriptedServer(says("200 OK")) as server:
        asyncio.run(scenario(server.url))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    }
    return Recorded(headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], body)


def _python(folder: Path) -> list[str]:
    return [sys.executable, str(VERIFIERS / "verify.py")]


def _node(folder: Path) -> list[str]:
    return [_need("node"), str(VERIFIERS / "verify.mjs")]


def _go(folder: Path) -> list[str]:
    subprocess.run([_need("go"), "build", "-o", folder / "verify", VERIFIERS / "verify.go"], check=True, timeout=150)
    return [str(folder / "verify")]


def _java(folder: Path) -> list[str]:
    subprocess.run([_need("javac"), "-d", folder, VERIFIERS / "Verify.java"], check=True, timeout=150)
    return [_need("java"), "-XX:TieredStopAtLevel=1", "-cp", str(folder), "Verify"]


def _shell(folder: Path) -> list[str]:
    _need("openssl")
    return [_need("sh"), str(VERIFIERS / "verify.sh")]


def _need(command: str) -> str:
    found = shutil.which(command)
    if found is None:
        pytest.skip(f"no {command} on this machine")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [_python, _node, _go, _java, _shell], ids=["python", "node", "go", "java", "shell"])
def test_a_receiver_tells_genuine_requests_from_others(
    requests: dict[str, Recorded], prepare: Callable[[Path], Sequence[str]], tmp_path: Path
) -> None:
    command = prepare(tmp_path)

    def verdict(secret: str, request: Recorded) -> str:
        ran = subprocess.run(
            [*command, request.id, request.timestamp, request.signatures],
            input=request.body,
            env={**os.environ, "WEBHOOK_SECRET": secret},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode in (0, 1), ran.stderr.decode()
        assert ran.stdout.decode().strip() == ("NOT genuine" if ran.returncode else "genuine")
        return "genuine" if ran.returncode == 0 else "no"

    generated, rotating, ed25519 = (requests[name] for name in ("generated", "rotating", "ed25519"))
    public, other = public_key(PRIVATE), public_key(generate_secret("ed25519"))
    assert len(rotating.signatures.split(" ")) == 2
    assert [
        verdict(GENERATED, generated),
        verdict(TYPED, rotating),
        verdict(GENERATED, rotating),
        verdict(public, ed25519),
    ] == ["genuine"] * 4
    assert [
        verdict(GENERATED, replace(generated, body=generated.body.replace(b"90", b"91"))),
        verdict("another secret", generated),
        verdict(GENERATED, replace(generated, timestamp=str(int(generated.timestamp) - 400))),
        verdict(public, replace(ed25519, id="another id")),
        verdict(other, ed25519),
        verdict(public, generated),
    ] == ["no"] * 6


def test_a_genuine_but_old_request_is_refused() -> None:
    """The published vector is years old: its signature fits, and its time does not."""
    source = (VERIFIERS / "verify.py").read_text().replace("< 300", "< 10**12")
    lenient: dict[str, object] = {"__name__": "verify"}
    exec(source, lenient)
    strict: dict[str, object] = {"__name__": "verify"}
    exec((VERIFIERS / "verify.py").read_text(), strict)
    vector = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        b'{"test": 2432232314}',
    )
    assert lenient["is_genuine"](*vector)  # type: ignore[operator]
    assert not strict["is_genuine"](*vector)  # type: ignore[operator]
