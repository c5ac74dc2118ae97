"""A real Chromium for tests of the console's pages, and the data they show."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from consoling import PASSWORD, RunningConsole
from delivering import delivery_for, event_of, put_deliveries, webhook_recipient
from support import produce
from tocsin.console.state import Put
from tocsin.console.store import Store
from tocsin.dispatcher.core import audit
from tocsin.dispatcher.core.audit import Attempt, Origin
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Unavailable
from tocsin.dispatcher.core.retries import DeadLettered, Decision, Done, RetryAt
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import (
    Group,
    MailTemplates,
    Matcher,
    Notification,
    Recipient,
    Schedule,
    Sensor,
    SensorUse,
    Silence,
    ThresholdSpec,
)
from tocsin.shared.configuration.schedules import PRESETS
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.schemas.delivery import DeadLetter, Delivery
from tocsin.shared.schemas.system import MatchedSystem, system_key
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import (
    ACTIVATIONS,
    DELIVERY_AUDIT,
    DELIVERY_DEAD_LETTER,
    NOTIFICATION_EVENTS,
    NOTIFICATION_SYSTEMS,
    SENSOR_CHANGES,
    SENSOR_READINGS,
)

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATHS = ("chromium", "chromium-browser", "google-chrome")
ARTIFACTS = os.environ.get("TOCSIN_SCREENSHOTS")
"""A folder for pictures of every page, at three widths and in both colour schemes; none are taken without it."""
PICTURES = os.environ.get("TOCSIN_PICTURES")
"""A folder for the few pictures of docs/tutorial.md."""
PICTURE_BYTES = 100_000
AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def chromium() -> str:
    """Its path. Fails the test, naming the way out, where there is none: what no browser has seen is untested."""
    found = next((path for name in PATHS if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("no Chromium on PATH: apt install chromium", pytrace=False)
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """With a new, empty profile."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield started
        started.close()


def signed_in(opened: Browser, console: RunningConsole, name: str = "admin", **given: Any) -> BrowserContext:
    """A context whose session is the user's."""
    context = opened.new_context(base_url=console.url, **given)
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    page.close()
    return context


def shot(page: Any, name: str) -> None:
    """To be looked at."""
    if ARTIFACTS:
        page.screenshot(path=Path(ARTIFACTS) / f"{name}.png", full_page=True)


def picture(page: Page, name: str, of: str | None = None) -> None:
    """For the tutorial: what fits the window, or one part of it, and small enough to be kept with the sources."""
    if PICTURES:
        shown = page if of is None else page.locator(of)
        data = shown.screenshot(path=Path(PICTURES) / f"{name}.png", animations="disabled")
        assert len(data) < PICTURE_BYTES, f"{name}.png has {len(data)} bytes"


def complaints(page: Page) -> list[str]:
    """What the browser itself finds wrong: scripts that fail, anything the policy blocks."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def serious(page: Page, colours_only: bool = False) -> list[str]:
    """What axe-core finds serious or critical on the page as it stands."""
    page.evaluate(AXE.read_text())
    # Of the rest, nothing is gathered.
    wanted = {"resultTypes": ["violations"], **({"runOnly": ["color-contrast"]} if colours_only else {})}
    return [
        f"{one['id']}: {one['help']}: {[' '.join(node['target']) for node in one['nodes'][:3]]}"
        for one in page.evaluate("rules => axe.run(document, rules)", wanted)["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def choose(page: Page, group: str, option: str) -> None:
    page.get_by_role("group", name=group).get_by_text(option, exact=True).click()


class Scenery:
    """A little of everything: what a console in use would show."""

    def __init__(self, settings: CommonSettings) -> None:
        self.settings = settings
        self.now = SystemClock().now_ms()
        self.sensors = (
            Sensor(id=_id(), name="CPU busy", metric="cpu.percent", trigger="> 90", clear="< 80", **{"for": 300_000}),  # type: ignore[arg-type]
            Sensor(id=_id(), name="App hang", metric="app.hang", trigger="== 1", description="A window hangs"),  # type: ignore[arg-type]
            Sensor(id=_id(), name="Disk nearly full", metric="disk.used", trigger="> 95", clear="< 90"),  # type: ignore[arg-type]
        )
        self.groups = (
            Group(id=_id(), name="Finance", systems=("FIN-*",), tags={"site": "Berlin"}),
            Group(id=_id(), name="Servers", systems=("SRV-*", "DB-*")),
        )
        hook = webhook_recipient(settings, "https://tickets.example.com/api/tocsin/v1/events", "ServiceNow")
        self.recipients = (
            hook,
            webhook_recipient(settings, "https://hooks.example.com/services/T0/B1", "Team chat").model_copy(
                update={"paused": True}
            ),
            Recipient(
                id=_id(),
                name="On call",
                type="distribution-list",
                email="oncall@example.com",
                mail=MailTemplates(subject="Wake up: @{notificationName}"),
            ),
            Recipient(
                id=_id(),
                name="Ada Lovelace",
                type="user",
                first_name="Ada",
                last_name="Lovelace",
                email="ada@example.com",
            ),
        )
        self.notifications = (
            _notification("Finance is slow", self.sensors[:1], "24", self.groups[0], *self.recipients[:3]),
            _notification("Disks fill up", self.sensors[2:], "3", self.groups[1], self.recipients[2]),
            _notification("Hanging and busy", self.sensors[:2], "1", None, self.recipients[0]),
        )

        self.schedule = Schedule(id=_id(), name="Berlin office", time_zone="Europe/Berlin", slots=PRESETS["12x5"])
        self.silence = Silence(
            id=_id(), name="Moving house", matchers=(Matcher(field="notification", pattern="Disks*"),),
            starts_at=self.now - 3_600_000, until=self.now + 7_200_000, comment="New racks", created_by="user:ada",
        )  # fmt: skip

    def put(self) -> None:
        rules = (*self.sensors, *self.groups, *self.notifications, self.schedule, self.silence)
        records = (*rules, *self.recipients)
        Store(self.settings, "cli:ada").write(lambda state: [Put(record) for record in records])
        self._readings()
        event = self._activations()
        self._deliveries(event)

    def _produce(self, topic: str, values: list[tuple[str, bytes]]) -> None:
        producer = kafka.producer(self.settings.kafka)
        produce(producer, self.settings.topic(topic), [(key.encode(), value) for key, value in values])

    def _readings(self) -> None:
        found: list[tuple[str, bytes]] = []
        for minute in range(60, 0, -1):
            time = self.now - minute * 60_000
            for number in range(1, 9):
                name = f"FIN-{number:03d}"
                value = 35 + number * 4 + (minute * 7 * number) % 23 + (25 if number < 4 and minute < 20 else 0)
                tags = '"tags":{"site":"Berlin","os":"Windows 11"}'
                body = f'{{"system":"{name}","metric":"cpu.percent","value":{min(value, 100)},"time":{time},{tags}}}'
                found.append((name, body.encode()))
            found.append(("SRV-01", f'{{"system":"SRV-01","metric":"disk.used","instance":"/var","value":{97 - minute / 30},"time":{time}}}'.encode()))  # fmt: skip  # noqa: E501
        self._produce(SENSOR_READINGS, found)
        changes = [
            SensorChange(
                id=_id(), sensor_id=self.sensors[0].id, sensor="CPU busy", revision="r", system=f"FIN-{number:03d}",
                metric="cpu.percent", state="triggered", previous="clear", value=97.5, time=self.now - 900_000,
            )
            for number in (1, 2, 3)
        ]  # fmt: skip
        self._produce(SENSOR_CHANGES, [(one.system, one.encode()) for one in changes])
        matched = [
            MatchedSystem(notification_id=self.notifications[0].id, system=one.system, partition=0, since=one.time)
            for one in changes
        ]
        rows = [(system_key(one.notification_id, one.system).decode(), one.encode()) for one in matched]
        self._produce(NOTIFICATION_SYSTEMS, rows)

    def _activations(self) -> Any:
        events, activations = [], []
        opened = None
        for at, notification in enumerate((*self.notifications, self.notifications[0])):
            started = self.now - 900_000 - at * 7_200_000
            event = event_of(
                notification.id, id=_id(), activation_id=_id(), activated_at=started, time=started,
                notification=Ref(id=notification.id, name=notification.name),
                urls={"activation": "http://c/a", "systems_at_activation": "http://c/s", "systems_now": "http://c/n"},
            )  # fmt: skip
            ended = None if at == 0 else started + 2_400_000
            activations.append(
                Activation(
                    id=event.activation_id, notification=event.notification, state="active" if at == 0 else "resolved",
                    activated_at=started, ended_at=ended, matched=3 if at == 0 else 0, reporting=8,
                    systems_at_activation=("FIN-001", "FIN-002", "FIN-003"), systems_total=3,
                )
            )  # fmt: skip
            events.append(event)
            if ended:
                events.append(event.model_copy(update={"id": _id(), "kind": "resolved", "ordinal": 2, "time": ended}))
            opened = opened or event
        self._produce(NOTIFICATION_EVENTS, [(one.notification.id, one.encode()) for one in events])
        self._produce(ACTIVATIONS, [(one.id, one.encode()) for one in activations])
        return opened

    def _deliveries(self, event: Any) -> None:
        hook, _, mail, _ = self.recipients
        one, two, three = (
            delivery_for(recipient, event=event.model_copy(update={"id": _id()})).model_copy(
                update={"routed_at": self.now - 890_000}
            )
            for recipient in (mail, hook, hook)
        )
        put_deliveries(self.settings, [one, two, three])
        failed = Unavailable("http_503", 503, '{"error": "maintenance until 18:00"}')
        self._attempt(one, Accepted(250, "queued"), Done(), "delivered")
        self._attempt(two, failed, RetryAt(120_000, self.now + 90_000), None)
        self._attempt(three, failed, DeadLettered("attempts_exhausted"), "dead-lettered")
        letter = DeadLetter(
            delivery=three, reason="attempts_exhausted", status=503, response_excerpt=failed.excerpt, time=self.now
        )
        self._produce(DELIVERY_DEAD_LETTER, [(hook.id, letter.encode())])

    def _attempt(self, delivery: Delivery, outcome: Outcome, decision: Decision, end: str | None) -> None:
        channel = "email" if isinstance(outcome, Accepted) else "webhook"
        attempt = Attempt(1, self.now - 880_000, self.now - 879_900, 87.0, outcome, channel)
        origin = Origin(None, "test")
        lines = [audit.attempted(delivery.model_copy(update={"attempts": 1}), attempt, decision, origin)]
        if end:
            lines.append(audit.ended(delivery, end, self.now - 870_000, origin))  # type: ignore[arg-type]
        self._produce(DELIVERY_AUDIT, [(delivery.id, line.encode()) for line in lines])


def _id() -> str:
    return str(uuid.uuid4())


def _notification(
    name: str, sensors: tuple[Sensor, ...], threshold: str, group: Group | None, *recipients: Recipient
) -> Notification:
    return Notification(
        id=_id(),
        name=name,
        sensors=tuple(SensorUse(sensor_id=one.id) for one in sensors),
        group_id=group.id if group else None,
        threshold=ThresholdSpec(value=threshold, is_percent=threshold == "24"),  # type: ignore[arg-type]
        recipient_ids=tuple(one.id for one in recipients),
    )


__all__ = ["Scenery", "browser", "choose", "chromium", "complaints", "picture", "serious", "shot", "signed_in"]
