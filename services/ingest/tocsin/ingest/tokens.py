"""API tokens of scope `ingest`, as the configuration has them now."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.shared.clock import Clock
from tocsin.shared.configuration.follower import ConfigurationSource
from tocsin.shared.configuration.records import Record, Token
from tocsin.shared.tokens import token_hash


class IngestTokens:
    """Of one event loop. A token that is revoked is refused as soon as that has been read."""

    def __init__(self, source: ConfigurationSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._records: Mapping[str, Record] | None = None
        self._tokens: dict[str, Token] = {}

    def allow(self, presented: bytes | None) -> bool:
        if presented is None:
            return False
        records = self._source.current.records
        if records is not self._records:
            tokens = (one for one in records.values() if isinstance(one, Token) and one.scope == "ingest")
            self._records, self._tokens = records, {one.token_hash: one for one in tokens}
        found = self._tokens.get(token_hash(presented.decode("utf-8", "replace")))
        return found is not None and (found.expires_at is None or found.expires_at > self._clock.now_ms())
