"""What can go wrong with the local stack, in words for the one at the keyboard."""

from __future__ import annotations

from tocsin.shared.errors import TocsinError


class StackError(TocsinError):
    """The local stack can't do what was asked."""
