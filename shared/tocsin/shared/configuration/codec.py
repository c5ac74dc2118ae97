"""Records of `configuration` as Kafka messages.

The key is `kind/foldedname`; a tombstone deletes. Two headers carry the change: its number, and how many records it
has, so that the records of one change take effect together.
"""

from __future__ import annotations

from tocsin.shared.configuration.names import record_key
from tocsin.shared.configuration.records import RECORD_TYPES, Record
from tocsin.shared.errors import CodecError
from tocsin.shared.headers import Headers

CHANGE_HEADER = "change"
COUNT_HEADER = "change-count"


def change_headers(change: int, count: int) -> Headers:
    """Headers of every record of one change."""
    return [(CHANGE_HEADER, str(change).encode()), (COUNT_HEADER, str(count).encode())]


def encode_record(record: Record) -> tuple[bytes, bytes]:
    """(key, value)."""
    return record_key(record.kind, record.name).encode(), record.encode()


def decode_record(key: bytes, value: bytes) -> Record:
    """Raises CodecError."""
    try:
        kind, _, _ = key.decode().partition("/")
    except UnicodeDecodeError as error:
        raise CodecError("key", str(error)) from None
    model = RECORD_TYPES.get(kind)
    if model is None:
        raise CodecError("kind", f"there is no kind {kind[:64]!r}")
    return model.decode(value)
