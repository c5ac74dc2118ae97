"""From nothing to the first webhook, as docs/tutorial.md tells it: a real Chromium, and every service a process.

With TOCSIN_PICTURES=docs/images it takes the tutorial's pictures on its way (`make pictures`).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from acceptance.pipeline import Pipeline
from browsing import PICTURES, browser, choose, complaints, picture, serious
from consoling import PASSWORD
from receiver import Receiver
from support import eventually, quick_producer, read_all
from tocsin.deploy.fleet import PIPELINE
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.ports import free_port
from tocsin.shared.clock import SystemClock
from tocsin.shared.topics import SENSOR_READINGS, topic_table

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SYSTEMS = ("FIN-001", "FIN-002", "FIN-003", "SRV-01")
CANARY = "canary-of-a-header"
CONFIGURATION = """
sensors:
  - {name: CPU busy, metric: cpu.percent, trigger: "> 80", clear: "< 65",
     description: The processors of a system have next to nothing left to give.}
notifications:
  - {name: A system is busy, sensors: [CPU busy], threshold: 1, recipients: [On call]}
recipients:
  - {name: On call, type: distribution-list, email: oncall@example.com}
"""


class Agents:
    """What sensors on some systems would send: a reading a second each; one of them may be made busy."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.busy = False
        self._topic = pipeline.settings.topic(SENSOR_READINGS)
        self._producer = quick_producer(pipeline.settings)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        now = SystemClock().now_ms()
        for ago in range(1_800, 0, -15):  # what there was before: charts have a past
            self._send(now - ago * 1_000)
        while not self._stopping.wait(1.0):
            self._send(SystemClock().now_ms())

    def _send(self, time: int) -> None:
        for number, name in enumerate(SYSTEMS):
            value = 96.0 if self.busy and number == 0 else 20 + number * 9 + (time // 1_000 * (7 + number)) % 17
            body = {"system": name, "metric": "cpu.percent", "value": value, "time": time, "tags": {"site": "Berlin"}}
            self._producer.produce(self._topic, key=name.encode(), value=json.dumps(body).encode())
        self._producer.flush(10)

    def __enter__(self) -> Agents:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(20)


@pytest.fixture
def pipeline(stack: Stack, tmp_path: Path) -> Iterator[Pipeline]:
    """Detector, activator, router, dispatcher and console; a sensor, a notification and somebody on call."""
    port = str(free_port())
    with Supervisor() as supervisor:
        made = Pipeline(
            stack, supervisor, tmp_path / "run",
            TOCSIN_CONSOLE_PORT=port, TOCSIN_CONSOLE_URL=f"http://127.0.0.1:{port}",
        )  # fmt: skip
        made.create_topics()
        for service in (*PIPELINE, "console"):
            made.fleet.start(service)
        made.apply(CONFIGURATION)
        made.wait_ready()
        yield made


@pytest.fixture
def context(pipeline: Pipeline) -> Iterator[BrowserContext]:
    with browser() as opened:
        made = opened.new_context(
            base_url=pipeline.environment["TOCSIN_CONSOLE_URL"], viewport={"width": 1080, "height": 620}
        )
        made.set_default_timeout(20_000)
        yield made
        made.close()


def makes_the_first_account_and_signs_in(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    picture(page, "first-account")
    assert serious(page) == []
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def adds_a_recipient(page: Page) -> str:
    """Up to the generated secret. Basic Auth without a password is refused on the way."""
    page.get_by_role("link", name="Recipients", exact=True).click()
    page.wait_for_url("**/recipients")
    page.get_by_role("link", name="Add Recipient").click()
    page.wait_for_url("**/recipients/new")
    choose(page, "Recipient Type", "System")
    page.get_by_label("Name", exact=True).fill("Ticket desk")
    choose(page, "Connection", "Webhook")
    page.get_by_label("URL").fill("http://127.0.0.1:9/")
    choose(page, "Request Method", "PUT")
    choose(page, "Authentication", "Basic Auth")
    page.get_by_label("User name").fill("tocsin")
    page.get_by_role("button", name="Add Recipient").click()
    expect(page.locator("#password-wrong")).to_contain_text("must not be empty")
    expect(page.locator("#problems")).to_contain_text("Password: must not be empty")
    choose(page, "Authentication", "Signed Secret")
    page.get_by_role("button", name="Generate").click()
    secret = page.get_by_role("textbox", name="Signed Secret").input_value()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    return secret


def completes_it(page: Page, url: str) -> None:
    """Two headers, one of them sensitive, and a changed body."""
    page.get_by_label("URL").fill(url)
    for number, (name, value) in enumerate((("X-Env", "prod"), ("X-Key", CANARY)), 1):
        page.get_by_role("button", name="+ Add header").click()
        page.get_by_label(f"Header name {number}").fill(name)
        page.get_by_label(f"Header value {number}").fill(value)
    page.get_by_label("Sensitive").nth(1).check()
    page.get_by_label("Body").fill('{"eventId": "@{notificationActivationId}", "what": "@{notificationName}"}')
    preview = page.locator("#preview")
    for text in ("PUT http://127.0.0.1", "X-Env: prod", "X-Key: ••••••••", '"what": "'):
        expect(preview).to_contain_text(text)
    assert CANARY not in preview.inner_text()
    expect(page.locator("#problems")).to_have_count(0)


def tries_it(page: Page, receiver: Receiver) -> None:
    page.get_by_role("button", name="Send test").click()
    expect(page.locator("#test-result")).to_contain_text("The test arrived. Status 204")
    assert [(one.method, one.verified) for one in receiver.requests] == [("PUT", True)]
    assert (receiver.requests[0].headers["x-key"], receiver.requests[0].headers["x-env"]) == (CANARY, "prod")


def saves_and_assigns_it(page: Page) -> None:
    page.get_by_role("button", name="Add Recipient").click()
    page.wait_for_url("**/assign?new=1")
    page.get_by_label("A system is busy").check()
    picture(page, "assign-notifications")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/recipients")
    row = page.get_by_role("row").filter(has_text="Ticket desk")
    expect(row.get_by_role("cell").last).to_have_text("1")
    picture(page, "recipients")


def the_same_name_in_another_case_is_refused(page: Page) -> None:
    page.goto("/recipients/new")
    page.get_by_label("Name", exact=True).fill("TICKET desk")
    page.get_by_label("URL").fill("http://127.0.0.1:9/")
    page.get_by_role("button", name="Add Recipient").click()
    expect(page.locator("#name-wrong")).to_contain_text("already taken")
    names = [one["name"] for one in page.request.get("/api/v1/recipients").json()["items"]]
    assert sorted(names) == ["On call", "Ticket desk"]


def an_activation_arrives_while_the_pages_are_open(
    page: Page, overview: Page, agents: Agents, receiver: Receiver
) -> None:
    """Neither page is loaded again: what is put into them stays there."""
    for one in (page, overview):
        expect(one.locator("#live")).to_have_class(re.compile("on"))
        one.evaluate("window.notLoadedAgain = true")
    expect(overview.locator("#all")).to_contain_text("All quiet.")
    before = len(receiver.requests)
    agents.busy = True
    expect(overview.locator("#all")).to_contain_text("1 of 4 reporting", timeout=60_000)
    expect(page.locator("#deliveries tbody")).to_contain_text("delivered", timeout=60_000)
    assert [one.evaluate("window.notLoadedAgain") for one in (page, overview)] == [True, True]
    (told,) = receiver.requests[before:]
    recipient = page.url.rpartition("/")[2]
    (delivery,) = page.request.get(f"/api/v1/deliveries?recipient={recipient}").json()["items"]
    activation = delivery["activation_id"]
    assert (told.id, told.method, told.verified) == (delivery["id"], "PUT", True)
    assert json.loads(told.body) == {"eventId": activation, "what": "A system is busy"}
    assert told.headers["x-key"] == CANARY
    (row,) = page.request.get("/api/v1/activations").json()["items"]
    assert (row["id"], row["state"], row["matched"], row["reporting"]) == (activation, "active", 1, 4)


def a_receiver_that_fails_is_seen_and_gets_all_of_it_later(page: Page, agents: Agents, receiver: Receiver) -> None:
    before, receiver.status = len(receiver.requests), 503
    agents.busy = False
    expect(page.locator("#deliveries tbody")).to_contain_text("retrying", timeout=60_000)
    picture(page, "receiver-failing", of="#facts")
    receiver.status = 204
    expect(page.locator("#deliveries tbody tr").first).to_contain_text("delivered", timeout=60_000)
    told = receiver.requests[before:]
    assert len(told) >= 2
    assert {one.id for one in told} == {told[0].id}
    assert all(one.verified for one in told)


def a_rule_of_ones_own_is_tried(page: Page) -> None:
    """For its pictures; that it works is for the tests of dry runs to say."""
    page.goto("/sensors/new")
    page.get_by_label("Name", exact=True).fill("CPU high")
    page.get_by_label("Metric").fill("cpu.percent")
    page.get_by_label("Triggered when").fill("> 90")
    page.get_by_label("Clear when").fill("< 60")
    page.get_by_role("button", name="Try it on the last 24 hours").click()
    expect(page.locator("#trial")).to_contain_text("Triggered", timeout=60_000)
    picture(page, "sensor-tried", of="#trial")
    page.get_by_role("button", name="Create sensor").click()
    expect(page.get_by_role("link", name="CPU high")).to_be_visible()
    page.goto("/notifications/new")
    page.get_by_label("Name", exact=True).fill("CPUs are high")
    page.get_by_label("Sensor 1", exact=True).select_option("CPU high")
    page.get_by_label("Threshold", exact=True).fill("1")
    page.get_by_label("Ticket desk").check()
    picture(page, "notification")


def everything_that_can_be_seen(page: Page, pipeline: Pipeline, recipient: str) -> dict[str, str]:
    """Pages, API and topics, by where it was found."""
    delivery = page.request.get("/api/v1/deliveries").json()["items"][0]["id"]
    paths = (
        "/", "/recipients", "/deliveries", "/audit", f"/recipients/{recipient}", f"/recipients/{recipient}/edit",
        f"/recipients/{recipient}/export.yaml", f"/recipients/{recipient}/export.sh", f"/deliveries/{delivery}",
        "/api/v1/recipients", f"/api/v1/recipients/{recipient}", "/api/v1/deliveries",
        f"/api/v1/deliveries/{delivery}", "/api/v1/audit",
    )  # fmt: skip
    found = {}
    for path in paths:
        answer = page.request.get(path)
        assert answer.ok, (path, answer.status)
        found[path] = answer.text()
    page.goto(f"/recipients/{recipient}/edit")
    expect(page.get_by_role("textbox", name="Signed Secret")).to_have_value("")
    found["the form, as it stands"] = page.content()
    for topic in topic_table(pipeline.settings.retry_tiers):
        found[topic.name] = b"".join(one.value() or b"" for one in read_all(pipeline.settings, topic.name)).decode(
            errors="replace"
        )
    return found


@pytest.mark.timeout(300)
def test_from_nothing_to_the_first_webhook(pipeline: Pipeline, context: BrowserContext) -> None:
    page, overview = context.new_page(), context.new_page()
    found = complaints(page)
    link = pipeline.tocsin("admin", "link").stdout.strip()
    with Agents(pipeline) as agents:
        makes_the_first_account_and_signs_in(page, link)
        expect(page.locator("#all")).to_contain_text("4", timeout=30_000)
        picture(page, "overview-quiet")
        secret = adds_a_recipient(page)
        with Receiver(secret) as receiver:
            completes_it(page, receiver.url)
            tries_it(page, receiver)
            page.evaluate("window.scrollTo(0, 0)")
            picture(page, "add-recipient")
            saves_and_assigns_it(page)
            the_same_name_in_another_case_is_refused(page)
            page.goto("/recipients")
            page.get_by_role("link", name="Ticket desk", exact=True).click()
            recipient = page.url.rpartition("/")[2]
            overview.goto("/")
            an_activation_arrives_while_the_pages_are_open(page, overview, agents, receiver)
            picture(overview, "overview-active")
            picture(page, "recipient-delivered", of="#deliveries")
            a_receiver_that_fails_is_seen_and_gets_all_of_it_later(page, agents, receiver)
        shown = everything_that_can_be_seen(page, pipeline, recipient)
        assert [(where, what) for where, text in shown.items() for what in (secret, CANARY) if what in text] == []
        assert "Ticket desk" in shown["/api/v1/recipients"]
        if PICTURES:
            a_rule_of_ones_own_is_tried(page)
    eventually(lambda: pipeline.ledger()[0] == 0, within=30, every=1)
    # A form that is refused is answered with 422, which the browser says aloud.
    assert [text for text in found if "422" not in text] == []
