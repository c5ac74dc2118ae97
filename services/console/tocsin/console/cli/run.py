"""`tocsin run SERVICE`: one process of a service in the foreground, until SIGTERM."""

from __future__ import annotations

import importlib
import sys

import click

SERVICES = {
    "gateway": "tocsin.ingest.main:run_gateway",
    "detector": "tocsin.evaluator.detector.main:run_detector",
    "activator": "tocsin.evaluator.activator.main:run_activator",
    "router": "tocsin.dispatcher.main:run_router",
    "dispatcher": "tocsin.dispatcher.main:run_dispatcher",
    "console": "tocsin.console.main:run_console",
}


@click.command()
@click.argument("service", type=click.Choice(list(SERVICES)))
def run(service: str) -> None:
    """Run SERVICE in the foreground. Settings come from the environment (TOCSIN_…)."""
    module, _, function = SERVICES[service].partition(":")
    sys.exit(getattr(importlib.import_module(module), function)())
