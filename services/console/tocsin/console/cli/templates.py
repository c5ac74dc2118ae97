"""`tocsin templates`: ready webhooks for well-known services."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from tocsin.console.findings import nearest
from tocsin.console.yaml_export import dump_yaml
from tocsin.dispatcher.core.ready_templates import ReadyTemplate, ready_templates
from tocsin.shared.errors import UsageError


@click.group()
def templates() -> None:
    """Ready webhooks for ServiceNow, Qualtrics, Teams, Slack, PagerDuty, and anything that takes JSON."""


@templates.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, bodies included.")
def list_(as_json: bool) -> None:
    """Their names and what they are for."""
    found = ready_templates().values()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    width = max(len(one.name) for one in found)
    for one in found:
        click.echo(f"{one.name:<{width}}  {one.service}")


@templates.command()
@click.argument("name")
@click.option("--body", "only_body", is_flag=True, help="The body template alone.")
def show(name: str, only_body: bool) -> None:
    """Print a recipient as YAML, to be completed and applied."""
    found = ready_templates().get(name)
    if found is None:
        raise UsageError(f"there is no template {name!r}; {nearest(name, ready_templates())}")
    if only_body:
        click.echo(found.body.strip())
        return
    click.echo(f"# {found.service}\n# {found.notes}\n# {found.documentation}")
    click.echo(dump_yaml({"recipients": [recipient_document(found)]}).rstrip("\n"))


def recipient_document(template: ReadyTemplate) -> dict[str, Any]:
    """A recipient as YAML has it, its secrets to come from the environment."""
    authentications: dict[str, dict[str, Any]] = {
        "basic": {"type": "basic", "username": "tocsin", "password": {"env": _variable(template, "PASSWORD")}},
        "signed-secret": {"type": "signed-secret", "secret": {"env": _variable(template, "SECRET")}},
    }
    webhook: dict[str, Any] = {"url": template.url}
    if template.authentication in authentications:
        webhook["authentication"] = authentications[template.authentication]
    if template.headers:
        webhook["headers"] = [
            {"name": one.name, "value": {"env": one.value}, "sensitive": True}
            if one.sensitive
            else {"name": one.name, "value": one.value}
            for one in template.headers
        ]
    if template.permanent:
        webhook["permanent"] = list(template.permanent)
    webhook["body"] = template.body.lstrip("\n")
    return {"name": template.title, "type": "system", "webhook": webhook}


def _variable(template: ReadyTemplate, what: str) -> str:
    return f"{template.name.upper().replace('-', '_')}_{what}"
