"""Failed sign-ins are counted by name and by address; too many make both wait."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

WINDOW_MS = 15 * 60_000
PER_NAME = 10
"""Failures in the window before a name has to wait: far above typing errors, far below guessing."""
PER_ADDRESS = 50
"""An office may share one address."""
MAX_REMEMBERED = 10_000


@dataclass
class Throttle:
    """One process's memory of failures; bounded, oldest forgotten first."""

    _failures: OrderedDict[str, list[int]] = field(default_factory=OrderedDict)

    def wait_ms(self, name: str, address: str, now_ms: int) -> int:
        """How long until another try is allowed; 0: now."""
        return max(
            self._wait(f"name:{name.casefold()}", PER_NAME, now_ms),
            self._wait(f"address:{address}", PER_ADDRESS, now_ms),
        )

    def failed(self, name: str, address: str, now_ms: int) -> None:
        for key in (f"name:{name.casefold()}", f"address:{address}"):
            times = [time for time in self._failures.pop(key, []) if time > now_ms - WINDOW_MS]
            self._failures[key] = [*times, now_ms][-PER_ADDRESS:]
        while len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """A right password forgives the name, never the address."""
        self._failures.pop(f"name:{name.casefold()}", None)

    def _wait(self, key: str, allowed: int, now_ms: int) -> int:
        times = [time for time in self._failures.get(key, ()) if time > now_ms - WINDOW_MS]
        return 0 if len(times) < allowed else times[-allowed] + WINDOW_MS - now_ms
