"""Every error a user can meet, as one tree.

TocsinError
├── UsageError            what was asked for cannot be done; says the way out
│   ├── ConfigurationError   bad YAML, unknown field, duplicate name: a list of findings
│   └── SettingsError        a setting is missing or wrong
├── BrokerError           the broker answered with something we cannot go on with
│   └── TopicError           a topic is missing or has the wrong shape
├── FencedError           another process has taken our place; says the way out
└── CodecError            bytes that are not what they should be
"""

from __future__ import annotations


class TocsinError(Exception):
    """Something went wrong that Tocsin can name."""


class UsageError(TocsinError):
    """What was asked for cannot be done."""


class SettingsError(UsageError):
    """A setting is missing or wrong."""


class BrokerError(TocsinError):
    """The broker cannot be used as it is."""


class TopicError(BrokerError):
    """A topic is missing or has the wrong shape."""


class FencedError(TocsinError):
    """Another process has taken our place: nothing that we write counts any more."""


class CodecError(TocsinError):
    """Bytes that are not the record they should be."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
