"""`tocsin secrets`: new signing secrets, and the public half of an ed25519 one."""

from __future__ import annotations

import json
import os
import sys

import click

from tocsin.dispatcher.core.signing import generate_secret, public_key
from tocsin.shared.errors import SettingsError


@click.group()
def secrets() -> None:
    """Signing secrets of webhooks. Nothing is stored: give one to `tocsin apply` as {env: NAME}."""


@secrets.command()
@click.option("--scheme", type=click.Choice(["standard", "ed25519"]), default="standard", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def generate(scheme: str, as_json: bool) -> None:
    """Print a new secret; for ed25519 with the public key that receivers verify with."""
    secret = generate_secret("ed25519" if scheme == "ed25519" else "standard")
    found = {"secret": secret}
    if scheme == "ed25519":
        found["public_key"] = public_key(secret)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name:<11} {value}")


@secrets.command("public-key")
@click.option("--env", "variable", metavar="NAME", help="The environment variable that holds the secret.")
def show_public_key(variable: str | None) -> None:
    """Print the public key (whpk_…) of an ed25519 secret (whsk_…), read from --env NAME or from standard input.

    Never give it as an argument: other users of the machine can see those.
    """
    if variable is not None and variable not in os.environ:
        raise SettingsError(f"the environment variable {variable} is not set")
    secret = os.environ[variable] if variable is not None else sys.stdin.readline()
    try:
        click.echo(public_key(secret.strip()))
    except ValueError as error:
        raise SettingsError(str(error)) from None
