"""Names as numbers: systems, metrics, instances, in order of first appearance."""

from __future__ import annotations

import threading


class Names:
    """Growing; numbers never change. The parsing thread and the worker both add to it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str) -> int:
        """The name's number, a new one if need be."""
        number = self.numbers.get(name)
        if number is None:
            with self._lock:
                number = self.numbers.get(name)
                if number is None:
                    number = len(self.names)
                    self.names.append(name)
                    self.numbers[name] = number  # last: whoever finds it here finds it everywhere
        return number
