"""The console in a real Chromium: what an administrator does, by mouse, by keyboard, and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from browsing import ARTIFACTS, Scenery, browser, choose, complaints, serious, shot, signed_in
from consoling import RunningConsole, console_settings, with_accounts
from support import eventually
from tocsin.deploy.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

WIDTHS = (320, 768, 1280)
BETWEEN = 1040
"""Where the side of navigation and a table just have to go together: nothing may be cut off."""
CUT = """[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)
    .map(one => `${one.scrollWidth} in ${one.clientWidth}`)"""
"""Tables that can only be read by scrolling sideways."""
SCHEMES = ("light", "dark")
IN_THE_DARK = ("overview", "recipients", "recipient-new", "recipient", "delivery", "sensor", "audit", "schedule")
"""The scheme changes colours and nothing else: between them these have every colour there is."""


@pytest.fixture(scope="module")
def scenery(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Scenery:
    settings = console_settings(stack, tmp_path_factory.mktemp("console"))
    with_accounts(settings)
    made = Scenery(settings)
    made.put()
    return made


@pytest.fixture(scope="module")
def running(scenery: Scenery) -> Iterator[RunningConsole]:
    with RunningConsole(scenery.settings) as console:  # type: ignore[arg-type]
        eventually(console.console.feed.caught_up.is_set)
        eventually(lambda: len(console.console.systems.by_name) == 9)
        yield console


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def admin(opened: Browser, running: RunningConsole) -> Iterator[BrowserContext]:
    context = signed_in(opened, running, viewport={"width": 1280, "height": 860})
    yield context
    context.close()


def paths(scenery: Scenery, running: RunningConsole) -> dict[str, str]:
    """Every page, by name."""
    viewer = running.client("viewer")
    activation = viewer.get("/api/v1/activations").json()["items"][0]["id"]
    delivery = viewer.get("/api/v1/deliveries?state=dead-lettered").json()["items"][0]["id"]
    hook = scenery.recipients[0].id
    lists = ("activations", "systems", "notifications", "sensors", "groups", "recipients", "schedules", "deliveries",
             "dead-letters", "silences", "audit", "tokens", "users", "api")  # fmt: skip
    return {
        "overview": "/",
        **{name: f"/{name}" for name in lists},
        "activation": f"/activations/{activation}",
        "system": "/system?name=FIN-001",
        "notification": f"/notifications/{scenery.notifications[0].id}",
        "notification-new": "/notifications/new",
        "sensor": f"/sensors/{scenery.sensors[0].id}",
        "group": f"/groups/{scenery.groups[0].id}",
        "schedule": f"/schedules/{scenery.schedule.id}",
        "schedule-new": "/schedules/new",
        "silence": f"/silences/{scenery.silence.id}",
        "silence-new": "/silences/new",
        "recipient": f"/recipients/{hook}",
        "recipient-mail": f"/recipients/{scenery.recipients[2].id}",
        "recipient-mail-edit": f"/recipients/{scenery.recipients[2].id}/edit",
        "recipient-new": "/recipients/new",
        "recipient-edit": f"/recipients/{hook}/edit",
        "assign": f"/recipients/{hook}/assign",
        "delivery": f"/deliveries/{delivery}",
        "not-found": "/nowhere",
    }


def test_what_is_wrong_is_said_as_one_leaves_a_field(admin: BrowserContext) -> None:
    page = admin.new_page()
    page.goto("/recipients/new")
    cases = [
        ("#name", "oN CaLL", "already taken"),
        ("#url", "https://10.0.0.1/hook", "10.0.0.1"),
        ("#body", '{"a": "@{notificationNam}"}', "did you mean 'notificationName'"),
        ("#body", '{"a": }', "line 1, column 7"),
    ]
    for field, text, complaint in cases:
        page.locator(field).fill(text)
        page.locator(field).blur()
        expect(page.locator(f"{field}-wrong")).to_contain_text(complaint)
    page.get_by_role("button", name="+ Add header").click()
    page.get_by_label("Header name 1").fill("Content-Length")
    page.get_by_label("Header name 1").blur()
    expect(page.locator("#headers .wrong").first).to_contain_text("set by the sender itself")
    shot(page, "add-recipient-problems")
    assert serious(page) == []


def test_the_server_refuses_what_a_form_without_scripts_sends(opened: Browser, running: RunningConsole) -> None:
    context = signed_in(opened, running, java_script_enabled=False)
    page = context.new_page()
    page.goto("/recipients/new")
    page.get_by_label("Name", exact=True).fill("No scripts")
    page.get_by_label("URL").fill("https://example.com/hook")
    page.get_by_label("Basic Auth").check()
    page.get_by_label("User name").fill("tocsin")
    page.get_by_role("button", name="Add Recipient").click()
    expect(page.locator("#password-wrong")).to_contain_text("must not be empty")
    page.get_by_role("radio", name="Signed Secret").check()
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("textbox", name="Signed Secret")).to_have_value(re.compile("whsec_"))
    page.get_by_role("button", name="+ Add header").click()
    page.get_by_label("Header name 1").fill("X-Env")
    page.get_by_label("Header value 1").fill("prod")
    page.get_by_role("button", name="Check and preview").click()
    expect(page.locator("#preview")).to_contain_text("X-Env: prod")
    shot(page, "add-recipient-without-scripts")
    page.get_by_role("button", name="Add Recipient").click()
    page.wait_for_url("**/assign?new=1")
    page.get_by_role("link", name="Skip", exact=True).click()
    expect(page.get_by_role("link", name="No scripts", exact=True)).to_be_visible()
    context.close()


def test_a_recipient_is_added_by_keyboard_alone(admin: BrowserContext) -> None:
    page = admin.new_page()
    page.goto("/recipients/new")

    def to(selector: str) -> None:
        for _ in range(60):
            if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"the Tab key never came to {selector}")

    to("[name=type]")
    page.keyboard.press("ArrowLeft")  # System → Distribution List
    expect(page.locator("[name=type][value=distribution-list]")).to_be_checked()
    to("#name")
    page.keyboard.type("By keyboard")
    to("#email")
    page.keyboard.type("keys@example.com")
    to("button.primary")
    page.keyboard.press("Enter")
    page.wait_for_url("**/assign?new=1")
    to("[name=notification]")
    page.keyboard.press("Space")
    to("button.primary")
    page.keyboard.press("Enter")
    page.wait_for_url("**/recipients")
    expect(page.get_by_role("link", name="By keyboard", exact=True)).to_be_visible()


def test_an_email_gets_texts_of_its_own(admin: BrowserContext, running: RunningConsole) -> None:
    page = admin.new_page()
    found = complaints(page)
    page.goto("/recipients/new")
    choose(page, "Recipient Type", "Distribution List")
    page.get_by_label("Name", exact=True).fill("Night shift")
    page.locator("#email").fill("night@example.com")
    preview = page.locator("#preview")
    expect(preview).to_contain_text("Subject: [Tocsin] Finance is slow: activated")
    page.get_by_text("Texts of the email").click()
    page.get_by_role("button", name="Fill in the usual texts").click()
    expect(page.get_by_label("Subject")).to_have_value("[Tocsin] @{notificationName}: @{eventKind}")
    page.get_by_label("Subject").fill("Wake up: @{notificationNam}")
    page.get_by_label("Subject").blur()
    expect(page.locator("#mail-subject-wrong")).to_contain_text("did you mean 'notificationName'")
    page.get_by_label("Subject").fill("Wake up: @{notificationName}")
    page.get_by_label("HTML", exact=True).fill("<p>Look at <b>@{notificationName}</b></p>")
    expect(preview).to_contain_text("Subject: Wake up: Finance is slow")
    preview.get_by_text("HTML, ").click()
    expect(preview).to_contain_text("<p>Look at <b>Finance is slow</b></p>")
    shot(page, "add-recipient-email")
    assert serious(page) == []
    page.get_by_role("button", name="Add Recipient").click()
    page.wait_for_url("**/assign?new=1")
    saved = running.client("viewer").get("/api/v1/recipients?name=night%20shift").json()["items"][0]
    assert saved["mail"]["subject"] == "Wake up: @{notificationName}"
    assert saved["mail"]["html"] == "<p>Look at <b>@{notificationName}</b></p>"
    assert saved["mail"]["text"].startswith("@{notificationName}: @{eventKind}")
    page.goto(f"/recipients/{saved['id']}/edit")
    expect(page.get_by_label("Subject")).to_have_value("Wake up: @{notificationName}")
    for label in ("Subject", "Text", "HTML"):
        page.get_by_label(label, exact=True).fill("")
    page.get_by_role("button", name="Save", exact=True).last.click()
    page.wait_for_url(f"**/recipients/{saved['id']}")
    assert "mail" not in running.client("viewer").get(f"/api/v1/recipients/{saved['id']}").json()
    assert found == []


def test_a_notification_is_made_and_says_what_it_matches_now(admin: BrowserContext) -> None:
    page = admin.new_page()
    page.goto("/notifications/new")
    page.get_by_label("Name", exact=True).fill("Made here")
    page.get_by_label("Sensor 1", exact=True).select_option("CPU busy")
    page.get_by_label("Group").select_option("Finance")
    page.get_by_role("button", name="Create notification").click()
    expect(page.locator("#threshold-wrong")).to_contain_text("is required")
    page.get_by_label("Threshold", exact=True).fill("25")
    page.get_by_label("%").check()
    page.get_by_label("On call").check()
    page.get_by_role("button", name="Create notification").click()
    page.wait_for_url("**/notifications")
    page.get_by_role("link", name="Made here").click()
    expect(page.locator("#now")).to_contain_text("25% of systems currently reporting")
    expect(page.locator("#now")).to_contain_text("8 of 8 systems")
    expect(page.get_by_text("that is 2 of 8 right now")).to_be_visible()


def test_rules_are_tried_before_they_are_saved_without_scripts(opened: Browser, running: RunningConsole) -> None:
    context = signed_in(opened, running, java_script_enabled=False)
    context.set_default_timeout(60_000)  # the first run loads the detector, and compiles it where its sources are new
    page = context.new_page()
    page.goto("/sensors/new")
    page.get_by_label("Name", exact=True).fill("Tried")
    page.get_by_label("Metric").fill("cpu.percent")
    page.get_by_label("Triggered when").fill("over 60")
    page.get_by_role("button", name="Try it on the last 24 hours").click()
    expect(page.locator("#trigger-wrong")).to_contain_text("is not a condition")
    page.get_by_label("Triggered when").fill("> 60")
    page.get_by_role("button", name="Try it on the last 24 hours").click()
    trial = page.locator("#trial")
    expect(trial).to_contain_text(re.compile(r"Triggered \d+ times"))
    expect(trial.get_by_role("img", name="Readings of 5 series with the thresholds")).to_be_visible()
    assert trial.locator("polygon.mark").count() > 3
    expect(trial.get_by_role("row").filter(has_text="FIN-005").filter(has_text="triggered").first).to_be_visible()
    shot(page, "sensor-tried")
    page.goto("/notifications/new")
    page.get_by_label("Name", exact=True).fill("Tried too")
    page.get_by_label("Sensor 1", exact=True).select_option("Disk nearly full")
    page.get_by_label("Threshold", exact=True).fill("50")
    page.get_by_label("%").check()
    page.get_by_label("Group").select_option("Servers")
    page.get_by_role("button", name="Try it on the last 24 hours").click()
    expect(page.get_by_text("50% of systems currently reporting: that is 1 of 1 right now").first).to_be_visible()
    expect(page.locator("#trial")).to_contain_text("Active once")
    expect(page.locator("#trial").get_by_role("row").filter(has_text="SRV-01")).to_contain_text("1 of 1 reporting")
    shot(page, "notification-tried")
    names = [one["name"] for one in running.client("viewer").get("/api/v1/sensors").json()["items"]]
    assert "Tried" not in names
    context.close()


def test_what_a_trial_shows_can_be_read_by_everybody(admin: BrowserContext) -> None:
    page = admin.new_page()
    page.goto("/sensors/new?name=Tried&metric=cpu.percent&trigger=%3E+60")
    page.get_by_role("button", name="Try it on the last 24 hours").click()
    expect(page.locator("#trial")).to_contain_text("Triggered", timeout=60_000)
    assert (serious(page), page.evaluate(CUT)) == ([], [])
    page.goto("/notifications/new?name=Tried")
    page.get_by_label("Sensor 1", exact=True).select_option("Disk nearly full")
    page.get_by_label("Threshold", exact=True).fill("1")
    page.get_by_role("button", name="Try it on the last 24 hours").click()
    expect(page.locator("#trial")).to_contain_text("Active once", timeout=60_000)
    assert (serious(page), page.evaluate(CUT)) == ([], [])


def test_a_schedule_is_made_on_a_grid_by_keyboard_and_without_scripts(
    admin: BrowserContext, opened: Browser, running: RunningConsole
) -> None:
    page = admin.new_page()
    found = complaints(page)
    page.goto("/schedules/new")
    page.get_by_label("Name", exact=True).fill("Office")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_role("button", name="12x5").click()
    box = page.get_by_role("checkbox", name="Mon 07:00")
    expect(box).to_be_checked()
    expect(page.get_by_role("checkbox", name="Sat 07:00")).not_to_be_checked()
    # The whole grid is one stop of the Tab key: its first checked box.
    page.get_by_role("button", name="Never").focus()
    page.keyboard.press("Tab")
    expect(box).to_be_focused()
    for key in ("ArrowUp", "Space", "ArrowLeft", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(page.get_by_role("checkbox", name="Tue 06:30")).to_be_checked()
    # Dragging paints.
    start, end = (page.get_by_role("checkbox", name=f"Sun {time}") for time in ("10:00", "11:30"))
    start.hover()
    page.mouse.down()
    end.hover()
    page.mouse.up()
    page.get_by_role("button", name="Create schedule").click()
    page.wait_for_url("**/schedules")
    saved = running.client("viewer").get("/api/v1/schedules?name=office").json()["items"][0]
    early, usual = ["06:30-19:00"], ["07:00-19:00"]
    days = {"mon": early, "tue": early, "wed": usual, "thu": usual, "fri": usual, "sun": ["10:00-12:00"]}
    assert saved["slots"] == days
    assert found == []
    context = signed_in(opened, running, java_script_enabled=False, viewport={"width": 320, "height": 700})
    plain = context.new_page()
    plain.goto(f"/schedules/{saved['id']}")
    plain.get_by_role("checkbox", name="Wed 19:00").check()
    plain.get_by_role("button", name="Save", exact=True).last.click()
    plain.wait_for_url("**/schedules")
    saved = running.client("viewer").get("/api/v1/schedules?name=office").json()["items"][0]
    assert saved["slots"]["wed"] == ["07:00-19:30"]
    context.close()


def test_a_viewer_sees_no_buttons_that_would_be_refused(opened: Browser, running: RunningConsole) -> None:
    context = signed_in(opened, running, "viewer")
    page = context.new_page()
    page.goto("/recipients")
    expect(page.get_by_role("link", name="Add Recipient")).to_have_count(0)
    assert page.goto("/recipients/new").status == 403  # type: ignore[union-attr]
    expect(page.get_by_role("alert")).to_contain_text("needs the role editor")
    context.close()


def problems_of(page: Page, name: str, path: str, scheme: str) -> list[str]:
    """Of one page, at every width."""
    page.goto(path)
    found = []
    for width in (*WIDTHS, BETWEEN):
        page.set_viewport_size({"width": width, "height": 860})
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append(f"{name} is wider than {width} px")
        if cut := page.evaluate(CUT):
            found.append(f"{name}: a table is cut off at {width} px: {cut}")
        if width in WIDTHS:
            shot(page, f"{name}-{width}-{scheme}")
    return found + [f"{name}: {one}" for one in serious(page, colours_only=scheme == "dark")]


def test_a_console_without_anything_in_it_says_what_to_do(opened: Browser, stack: Stack, tmp_path: Path) -> None:
    settings = console_settings(stack, tmp_path)
    with_accounts(settings)
    with RunningConsole(settings) as console:
        context = signed_in(opened, console)
        page = context.new_page()
        names = ("", "recipients", "deliveries", "systems", "dead-letters", "notifications", "activations")
        problems = [one for name in names for one in problems_of(page, f"empty-{name}", f"/{name}", "light")]
        page.goto("/")
        expect(page.get_by_text("Three steps to the first alarm")).to_be_visible()
        page.goto("/recipients")
        expect(page.get_by_text("Nobody is told yet")).to_be_visible()
        context.clear_cookies()
        problems += problems_of(page, "sign-in", "/sign-in", "light")
        context.close()
    assert not problems, "\n".join(problems)


@pytest.mark.timeout(600)  # some seconds a page where the machine is busy
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_fits_every_width_and_has_no_serious_accessibility_finding(
    opened: Browser, running: RunningConsole, scenery: Scenery, scheme: Any
) -> None:
    context = signed_in(opened, running, color_scheme=scheme)
    page = context.new_page()
    found = complaints(page)
    everything = paths(scenery, running)
    wanted = everything if scheme == "light" or ARTIFACTS else IN_THE_DARK
    problems = [problem for name in wanted for problem in problems_of(page, name, everything[name], scheme)]
    assert not problems, "\n".join(problems)
    assert [text for text in found if "404" not in text] == []
    context.close()
