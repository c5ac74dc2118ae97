"""docs/how-to: examples as the ready templates make them, commands that work, and tables that say what happens."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from receiver import Receiver
from tocsin.console.how_to import body_of, made
from tocsin.dispatcher.core.ready_templates import ready_templates

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = sorted(FOLDER.glob("*.md"))
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, yes").decode()

_COMMAND = re.compile(r"<!-- made: curl ([\w-]+) -->\n```sh\n(.*?)\n```\n<!-- end -->", re.DOTALL)
_USED = re.compile(r"<!-- made: \w+ ([\w-]+) -->")
_ROW = re.compile(r"^\| (\d{3}(?:, \d{3})*)\b.* \| [^|]* \| ([^|]*) \|$", re.MULTILINE)
COMMANDS = {name: command for page in PAGES for name, command in _COMMAND.findall(page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_are_what_the_templates_make(page: Path) -> None:
    assert page.read_text() == made(page.read_text()), "run: make reference"


def test_every_template_has_its_page_and_the_index_names_every_page() -> None:
    assert set(COMMANDS) == set(ready_templates())
    index = (FOLDER / "README.md").read_text()
    assert all(f"]({page.name})" in index for page in PAGES if page.name != "README.md")


@pytest.mark.parametrize("name", ready_templates())
def test_the_command_sends_what_tocsin_would_send(name: str) -> None:
    missing = [tool for tool in ("curl", "openssl") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} on PATH")
    address, _, rest = COMMANDS[name].partition("\n")
    assert address.startswith("url=")
    template = ready_templates()[name]
    given = {one.value: "a-token" for one in template.headers if one.sensitive}
    environment = {
        **os.environ,
        **given,
        "SECRET": SECRET,
        "SERVICENOW_PASSWORD": "p",
        "SERVICENOW_EVENT_PASSWORD": "p",
    }
    with Receiver(SECRET) as receiver:
        script = f"set -eu\nurl={receiver.url}\n{rest}"
        done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr.decode()
        (sent,) = receiver.requests
    assert (sent.method, sent.body.decode()) == ("POST", body_of(template))
    assert sent.headers["content-type"] == template.content_type
    assert all(sent.headers[one.name.lower()] == (given.get(one.value) or one.value) for one in template.headers)
    basic = "Basic " + base64.b64encode(b"tocsin:p").decode()
    assert sent.headers.get("authorization") == (basic if template.authentication == "basic" else None)
    assert sent.verified == (template.authentication == "signed-secret")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_said_to_be_a_dead_letter_is_one(page: Path) -> None:
    text = page.read_text()
    permanent = {410} | {
        status
        for name in _USED.findall(text)
        if name in ready_templates()
        for status in ready_templates()[name].permanent
    }
    for statuses, happens in _ROW.findall(text):
        found = {int(one) for one in statuses.split(", ")}
        if min(found) >= 400 and page.stem != "email":
            assert (found <= permanent) == ("dead letter" in happens), (statuses, happens)
            assert found <= permanent or not found & permanent, statuses
