"""The command `tocsin`. Commands are loaded when they are called, so that `tocsin --help` answers at once."""

from __future__ import annotations

import importlib
import sys

import click
from click.shell_completion import CompletionItem

from tocsin.console.findings import nearest
from tocsin.shared.errors import TocsinError

_COMMANDS = {
    "demo": (
        "tocsin.deploy.demo:demo",
        "See it work: this host's readings, a crossing, a webhook, an email, the audit.",
    ),
    "stack": ("tocsin.deploy.stack.cli:stack", "The local stack: Kafka, Redis, a mail sink."),
    "topics": ("tocsin.console.cli.topics:topics", "List, apply and check the topics."),
    "apply": ("tocsin.console.cli.configuration:apply", "Bring the configuration to what YAML files say."),
    "export": ("tocsin.console.cli.configuration:export", "Print the configuration as YAML."),
    "get": ("tocsin.console.cli.configuration:get", "Show records of the configuration."),
    "sensors": ("tocsin.console.cli.records:sensors", "List and show sensors."),
    "groups": ("tocsin.console.cli.records:groups", "List and show groups."),
    "schedules": ("tocsin.console.cli.records:schedules", "List and show schedules."),
    "notifications": ("tocsin.console.cli.records:notifications", "List and show notifications."),
    "recipients": (
        "tocsin.console.cli.recipients:recipients",
        "List, show, pause and disable recipients.",
    ),
    "templates": ("tocsin.console.cli.templates:templates", "Ready webhooks for well-known services."),
    "secrets": ("tocsin.console.cli.secrets:secrets", "Make signing secrets; show the public key of one."),
    "check": ("tocsin.console.cli.check:check", "Check configuration: mistakes, and suspicious rules."),
    "test": ("tocsin.console.cli.unit_tests:test", "Run unit tests of rules."),
    "backtest": ("tocsin.console.cli.backtest:backtest", "Show what rules would have done with recorded readings."),
    "run": (
        "tocsin.console.cli.run:run",
        "Run a service: gateway, detector, activator, router, dispatcher, console.",
    ),
    "admin": ("tocsin.console.cli.admin:admin", "Make the first account of the console, or reset a password."),
    "tokens": ("tocsin.console.cli.tokens:tokens", "List, create and revoke tokens for the API."),
    "deliveries": ("tocsin.console.cli.history:deliveries", "List and show deliveries with their attempts."),
    "activations": ("tocsin.console.cli.history:activations", "List and show activations."),
    "tail": ("tocsin.console.cli.tail:tail", "Show audit records, events or changes as they are written."),
    "top": ("tocsin.console.cli.top:top", "Watch rates, consumer lag and recipients in trouble."),
    "doctor": ("tocsin.console.cli.doctor:doctor", "Look whether everything is there; say what to do."),
    "silence": ("tocsin.console.cli.silences:silence", "Keep notifications quiet for a while."),
    "dismiss": ("tocsin.console.cli.silences:dismiss", "End an open activation by hand."),
    "forget": ("tocsin.console.cli.forget:forget", "Forget systems that are gone for good."),
    "agent": ("tocsin.ingest.agent:agent", "Publish this host's own sensors every second."),
    "replay": ("tocsin.ingest.replay:replay", "Play recorded readings as if they happened now."),
    "listen": ("tocsin.console.cli.listen:listen", "A receiver that verifies signatures and shows what came."),
    "dead-letters": ("tocsin.console.cli.dead_letters:dead_letters", "List, show and replay deliveries given up."),
    "ledger": ("tocsin.console.cli.ledger:ledger", "Prove that every delivery has one end."),
    "completion": ("tocsin.console.cli.completion:completion", "Print a script that completes commands in a shell."),
    "bench": ("tocsin.deploy.bench:bench", "Measure this machine, each figure beside its reference."),
}

_ALSO = {"silences": "silence", "dead-letter": "dead-letters"} | {
    kind: f"{kind}s" for kind in ("sensor", "group", "schedule", "notification", "recipient", "token", "template")
}
"""Other names of commands, as people type them; not listed."""


class _Lazy(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = _ALSO.get(cmd_name, cmd_name)
        if cmd_name not in _COMMANDS:
            if ctx.resilient_parsing or cmd_name.startswith("-"):
                return None  # a shell asks for completion; click itself knows what to say of an option
            ctx.fail(f"there is no command {cmd_name[:64]!r}; {nearest(cmd_name, _COMMANDS)}")
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Without importing what is not called."""
        fitting = [(name, text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)]
        items = [CompletionItem(name, help=text) for name, text in fitting]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tocsin")
def root() -> None:
    """Sensor notifications on Apache Kafka: thresholds in, signed webhooks and emails out, every attempt audited."""


def main() -> None:
    """Users' mistakes end in one clear line and exit code 1; bugs keep their traceback."""
    try:
        # Without standalone mode click hands back what `ctx.exit` was given instead of leaving with it.
        result = root.main(standalone_mode=False, prog_name="tocsin")
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except TocsinError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
