"""A real mail server takes and keeps what the dispatcher's email channel sends; `make mail`.

The stored message is read by Go's mail and MIME packages: another library than the one that wrote it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import postfix
from certificates import Authority
from delivering import delivery_for, event_of, unsigned_recipient
from support import settings_for
from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.channels.email import EmailChannel
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.event_loop import new_event_loop
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.delivery import Delivery

pytestmark = pytest.mark.skipif(postfix.why_not() is not None, reason=str(postfix.why_not()))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made_in(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> Iterator[postfix.Postfix]:
    with postfix.Postfix(authority) as running:
        yield running


DELIVERY = delivery_for(
    unsigned_recipient("http://x/"),
    event=event_of(
        notification=Ref(id="0b2f", name="Büro 7 <langsam> & größer als \"90 %\""),
        description=".\n..\n.zwei Punkte am Anfang\n" + "eine lange Zeile " * 80 + "\nFrom here on: ✓ 🔔",
    ),
)  # fmt: skip


def send(
    server: postfix.Postfix, authority: Authority, tmp_path: Path, recipient: Recipient, delivery: Delivery = DELIVERY
) -> list[Outcome]:
    """Twice, as if the first answer had been lost."""
    settings = settings_for(
        "127.0.0.1:1", tmp_path, DispatcherSettings, smtp_host="localhost", smtp_port=server.port,
        smtp_tls="starttls", smtp_ca_file=authority.file, smtp_from="Tocsin <alerts@tocsin.example>",
    )  # fmt: skip

    async def scenario() -> list[Outcome]:
        channel = EmailChannel(settings)
        parcel = Parcel(delivery, recipient, channel.render(delivery, recipient))
        outcomes = [await channel.send(parcel) for _ in range(2)]
        await channel.close()
        return outcomes

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(scenario())


def read_by_go(message: bytes, folder: Path) -> dict[str, Any]:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go on this machine")
    program = folder / "mailcheck"
    source = Path(__file__).parents[1] / "mailcheck" / "main.go"
    subprocess.run([go, "build", "-o", program, source], check=True, timeout=150)
    ran = subprocess.run([program], input=message, capture_output=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.slow
def test_it_takes_and_keeps_a_message_that_another_library_reads(
    server: postfix.Postfix, authority: Authority, tmp_path: Path
) -> None:
    recipient = Recipient(id="r", name="On call, a@evil.example", type="distribution-list", email="oncall@example.com")
    outcomes = send(server, authority, tmp_path, recipient)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted], (outcomes, server.log())
    stored = server.messages()
    assert stored, server.log()
    found = read_by_go(stored[0], tmp_path)
    headers = found["Headers"]
    assert found["Addresses"] == {
        "From": [["Tocsin", "alerts@tocsin.example"]],
        "To": [["On call, a@evil.example", "oncall@example.com"]],
    }
    assert headers["Subject"] == '[Tocsin] Büro 7 <langsam> & größer als "90 %": activated'
    assert headers["Message-Id"] == f"<{DELIVERY.id}@tocsin.example>"
    assert headers["List-Id"] == "<0b2f.notifications.tocsin.example>"
    assert headers["References"] == f"<{DELIVERY.event.activation_id}@tocsin.example>"
    assert (headers["Auto-Submitted"], headers["Mime-Version"]) == ("auto-generated", "1.0")
    assert found["Date"] == "2025-11-25T10:00:00Z"
    assert "with ESMTPS" in headers["Received"], "it came encrypted"
    assert found["Type"] == "multipart/alternative"
    text, html = found["Parts"]
    assert [(one["Type"], one["Charset"], one["Encoding"]) for one in (text, html)] == [
        ("text/plain", "utf-8", "quoted-printable"),
        ("text/html", "utf-8", "quoted-printable"),
    ]
    assert text["Valid"]
    assert html["Valid"]
    # Lines that begin with a dot or with From survive SMTP and the mailbox.
    assert ".\n..\n.zwei Punkte am Anfang\n" in text["Text"].replace("\r\n", "\n")
    assert "From here on: ✓ 🔔" in text["Text"]
    assert "Büro 7 &lt;langsam&gt; &amp; größer als &quot;90 %&quot;" in html["Text"]
    assert max(len(line) for line in stored[0].split(b"\n")) < 998


@pytest.mark.slow
def test_an_address_it_does_not_know_is_refused_for_good(
    server: postfix.Postfix, authority: Authority, tmp_path: Path
) -> None:
    nobody = Recipient(id="r", name="Nobody", type="distribution-list", email="nobody@example.com")
    elsewhere = Recipient(id="r", name="Elsewhere", type="distribution-list", email="a@elsewhere.example")
    for recipient in (nobody, elsewhere):
        outcomes = send(server, authority, tmp_path, recipient)
        assert [type(one) for one in outcomes] == [Refused, Refused], outcomes
        assert {one.status for one in outcomes} <= {550, 554}
