"""Commands answer in a few lines of their own: what libraries log about connections would come before them."""

from __future__ import annotations

from tocsin.shared.telemetry import logs


def quiet_logs() -> None:
    """Logs go to standard error, never into the output, and only what is critical."""
    logs.configure("cli", "critical", "console")
