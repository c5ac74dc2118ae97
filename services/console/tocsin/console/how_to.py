"""The examples in docs/how-to, made from the ready templates: `python -m tocsin.console.how_to docs/how-to`.

In a page, what stands between `<!-- made: KIND NAME -->` and `<!-- end -->` is written anew. KIND is what to show of
the template NAME: `choose` (what its recipient has), `request` (as it is sent), `curl` (the same by hand), or `email`.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from tocsin.console.cli.templates import recipient_document
from tocsin.console.tryout import MASK
from tocsin.dispatcher.channels.webhook import USER_AGENT
from tocsin.dispatcher.core.mail import render_email
from tocsin.dispatcher.core.ready_templates import ReadyTemplate, ready_templates
from tocsin.dispatcher.core.templates import render
from tocsin.dispatcher.core.variables import Values
from tocsin.evaluator.core.notification import event_urls
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.event import NotificationEvent, Threshold

_BLOCK = re.compile(r"(<!-- made: (\w+) ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ACTIVATION = "5f0c9c1e-3c0b-5d0e-9a51-2b7f1d2c6e10"

EXAMPLE = NotificationEvent(
    id="0d6a2b7e-55a1-5b0f-8f0d-6c1e4a9b3d21",
    kind="activated",
    ordinal=1,
    tenant_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
    activation_id=_ACTIVATION,
    activated_at=1_796_119_200_123,
    time=1_796_119_200_123,
    notification=Ref(id="n", name="Finance is slow"),
    description="Too many machines are busy at the same time.",
    sensors=(Ref(id="s", name="CPU busy"),),
    group=Ref(id="g", name="Finance"),
    threshold=Threshold(value="25", is_percent=True, text="25% of systems currently reporting"),
    revision="r",
    matched=3,
    reporting=8,
    systems=("FIN-001", "FIN-002", "FIN-007"),
    systems_total=3,
    urls=event_urls("https://tocsin.example.com", _ACTIVATION),
)
"""What the examples tell of."""

_AUTHENTICATION = {"off": "Off", "basic": "Basic Auth", "signed-secret": "Signed Secret"}
_SIGNED = """\
id=example-1 at=$(date +%s)
key=$(printf %s "${SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \\n')
signature=$(printf %s "$id.$at.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
"""


def body_of(template: ReadyTemplate) -> str:
    return render(template.body, template.content_type, Values.of(EXAMPLE)).strip()


def choose(template: ReadyTemplate) -> str:
    """A table in the form's order and words."""
    rows = [
        ("Recipient Type", "System"),
        ("Connection", "Webhook"),
        ("URL", f"`{template.url}`"),
        ("Request Method", "POST"),
        ("Authentication", _AUTHENTICATION[template.authentication]),
    ]
    rows += [
        ("Headers", f"`{one.name}`, *Sensitive*" if one.sensitive else f"`{one.name}: {one.value}`")
        for one in template.headers
    ]
    rows.append(("Start from a template", f"*{template.title}*; fills in all but the name and what is yours"))
    if template.permanent:
        statuses = ", ".join(str(one) for one in template.permanent)
        rows.append(("Not tried again after", f"{statuses} (`permanent`, under *More*)"))
    lines = "".join(f"| {name} | {value} |\n" for name, value in rows)
    return f"| field | what to choose |\n|---|---|\n{lines}"


def request(template: ReadyTemplate) -> str:
    headers = ["webhook-id: the delivery's id"]
    headers += [f"Content-Type: {template.content_type}", f"User-Agent: {USER_AGENT}"]
    headers += [f"{one.name}: {MASK if one.sensitive else one.value}" for one in template.headers]
    if template.authentication == "basic":
        headers.append(f"Authorization: Basic {MASK}")
    elif template.authentication == "signed-secret":
        headers += ["webhook-timestamp: the seconds of the attempt", f"webhook-signature: v1,{MASK}"]
    return _fenced("http", "\n".join([f"POST {template.url}", *headers, "", body_of(template)]))


def curl(template: ReadyTemplate) -> str:
    """For a POSIX shell; secrets come from its environment. Its first line is the address."""
    lines = [f"url={shlex.quote(template.url)}", f"body={shlex.quote(body_of(template))}"]
    arguments = ["curl -i -X POST", f"-H {shlex.quote('Content-Type: ' + template.content_type)}"]
    for one in template.headers:
        value = f'-H "{one.name}: ${one.value}"' if one.sensitive else f"-H {shlex.quote(f'{one.name}: {one.value}')}"
        arguments.append(value)
    if template.authentication == "basic":
        password = recipient_document(template)["webhook"]["authentication"]["password"]["env"]
        arguments.append(f'-u "tocsin:${password}"')
    elif template.authentication == "signed-secret":
        lines.append(_SIGNED.rstrip())
        arguments += ['-H "webhook-id: $id" -H "webhook-timestamp: $at"', '-H "webhook-signature: v1,$signature"']
    arguments.append('--data-binary "$body" "$url"')
    return _fenced("sh", "\n".join([*lines, " \\\n  ".join(arguments)]))


def email() -> str:
    """The text of the example, as it is without templates of one's own."""
    letter = render_email(Values.of(EXAMPLE))
    return _fenced("text", f"Subject: {letter.subject}\n\n{letter.text.rstrip()}")


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


_KINDS = {"choose": choose, "request": request, "curl": curl}


def made(page: str) -> str:
    """The page with its examples as they are now."""

    def block(found: re.Match[str]) -> str:
        head, kind, name, end = found.groups()
        text = email() if kind == "email" else _KINDS[kind](ready_templates()[name])
        return f"{head}{text}{end}"

    return _BLOCK.sub(block, page)


def main() -> None:
    for path in sorted(Path(sys.argv[1]).glob("*.md")):
        path.write_text(made(path.read_text()))
        print(path)


if __name__ == "__main__":
    main()
