"""`tocsin bench`: figures of this machine, each beside a reference measured in the same run."""

from __future__ import annotations

import importlib

import click

_BENCHES = {
    "detector": ("tocsin.deploy.bench.detector:detector", "Readings a second, beside plain consume()."),
    "series": ("tocsin.deploy.bench.many_series:command", "A million series in the detector: memory, and a start."),
    "pipeline": ("tocsin.deploy.bench.pipeline:command", "From a reading to its webhook: latency, stage by stage."),
    "backtest": ("tocsin.deploy.bench.backtest:backtest", "Readings a second, beside Python's csv module."),
    "console": ("tocsin.deploy.bench.console:command", "How soon lists answer in a large deployment."),
    "dispatcher": ("tocsin.deploy.bench.dispatcher:command", "Webhooks a second, beside a bare aiohttp loop."),
}


class _Lazy(click.Group):
    """Imports a benchmark only when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_BENCHES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _BENCHES:
            return None
        module, _, attribute = _BENCHES[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _BENCHES.items()])


@click.group(cls=_Lazy)
def bench() -> None:
    """Measure this machine, each figure beside its reference."""
