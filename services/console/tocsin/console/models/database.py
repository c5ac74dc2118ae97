"""Tables of the read models, in an SQLite file that lives as long as the process.

Nothing in it is the truth: it is made anew from the topics at every start, so it cannot drift from them, and a million
deliveries need no memory (docs/decisions/0015).
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

SCHEMA = """
CREATE TABLE deliveries (
    id TEXT UNIQUE NOT NULL, replay INTEGER, event_id TEXT, activation_id TEXT, notification_id TEXT, notification TEXT,
    recipient_id TEXT, recipient TEXT, routed_at INTEGER, updated_at INTEGER, state TEXT, attempts INTEGER,
    channel TEXT, outcome TEXT, reason TEXT, status INTEGER, latency_ms REAL, next_at INTEGER
);
CREATE INDEX deliveries_by_time ON deliveries (routed_at, id);
CREATE INDEX deliveries_by_recipient ON deliveries (recipient_id, routed_at, id, notification_id);
CREATE INDEX deliveries_by_recipient_state ON deliveries (recipient_id, state, routed_at, id, notification_id);
CREATE INDEX deliveries_by_notification ON deliveries (notification_id, routed_at, id);
CREATE INDEX deliveries_by_notification_state ON deliveries (notification_id, state, routed_at, id);
CREATE INDEX deliveries_by_state ON deliveries (state, routed_at, id);
CREATE INDEX deliveries_by_activation ON deliveries (activation_id);
CREATE TABLE steps (delivery INTEGER, records BLOB);
CREATE INDEX steps_by_delivery ON steps (delivery);
CREATE TABLE activations (
    id TEXT PRIMARY KEY, notification_id TEXT, notification TEXT, state TEXT, activated_at INTEGER, ended_at INTEGER,
    matched INTEGER, reporting INTEGER, record BLOB
) WITHOUT ROWID;
CREATE INDEX activations_by_time ON activations (activated_at, id);
CREATE INDEX activations_by_notification ON activations (notification_id, activated_at, id);
CREATE INDEX activations_by_notification_state ON activations (notification_id, state, activated_at, id);
CREATE INDEX activations_by_state ON activations (state, activated_at, id);
CREATE TABLE events (
    id TEXT PRIMARY KEY, activation_id TEXT, notification_id TEXT, kind TEXT, time INTEGER, record BLOB
) WITHOUT ROWID;
CREATE INDEX events_by_activation ON events (activation_id);
CREATE INDEX events_by_notification ON events (notification_id, time);
CREATE INDEX events_by_time ON events (time);
CREATE TABLE changes (
    id TEXT PRIMARY KEY, time INTEGER, actor TEXT, action TEXT, kind TEXT, record_id TEXT, name TEXT, record BLOB
) WITHOUT ROWID;
CREATE INDEX changes_by_time ON changes (time, id);
CREATE INDEX changes_by_record ON changes (record_id, time, id);
CREATE INDEX changes_by_kind ON changes (kind, time, id, actor);
CREATE INDEX changes_by_actor ON changes (actor, time, id);
CREATE TABLE letters (
    delivery_id TEXT, replay INTEGER, time INTEGER, recipient_id TEXT, notification_id TEXT, reason TEXT, record BLOB,
    open INTEGER, PRIMARY KEY (delivery_id, replay)
) WITHOUT ROWID;
CREATE INDEX letters_by_time ON letters (time, delivery_id) WHERE open = 1;
CREATE INDEX letters_by_recipient ON letters (recipient_id, time, delivery_id, notification_id) WHERE open = 1;
CREATE INDEX letters_by_notification ON letters (notification_id, time, delivery_id) WHERE open = 1;
CREATE INDEX letters_of_recipient ON letters (recipient_id, time);
CREATE INDEX letters_all ON letters (time);
CREATE TABLE recipient_states (recipient_id TEXT PRIMARY KEY, record BLOB) WITHOUT ROWID;
CREATE TABLE states (
    sensor_id TEXT, system TEXT, instance TEXT, sensor TEXT, metric TEXT, state TEXT, level TEXT, value REAL,
    time INTEGER, PRIMARY KEY (sensor_id, system, instance)
) WITHOUT ROWID;
CREATE INDEX states_by_system ON states (system);
CREATE INDEX states_triggered ON states (sensor_id, system) WHERE state = 'triggered';
CREATE INDEX systems_triggered ON states (system, sensor_id) WHERE state = 'triggered';
CREATE INDEX states_by_time ON states (time);
CREATE TABLE matched (
    notification_id TEXT, system TEXT, place INTEGER, since INTEGER, until INTEGER,
    PRIMARY KEY (notification_id, system, place)
) WITHOUT ROWID;
CREATE INDEX matched_by_time ON matched (notification_id, since);
CREATE INDEX matched_now ON matched (notification_id, system) WHERE until IS NULL;
CREATE INDEX matched_by_system ON matched (system) WHERE until IS NULL;
CREATE INDEX matched_before ON matched (until) WHERE until IS NOT NULL;
"""

WRITERS_CACHE_KB, READERS_CACHE_KB = 64 << 10, 8 << 10
"""New rows come under random ids: with less, each is a page read and written again."""

CHECKPOINT_PAGES = 20_000
"""80 MB of a second file: a page that is written often is put into its place more rarely."""


class Database:
    """One writing connection, and one reading connection for each thread that reads."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tocsin-console-")
        self._path = Path(self._folder.name) / "read-models.sqlite"
        self.writer = self._open(WRITERS_CACHE_KB)
        # Readers go on while a batch is written; nothing has to survive a crash.
        self.writer.execute("PRAGMA journal_mode=WAL")
        self.writer.execute("PRAGMA synchronous=OFF")
        self.writer.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        self.writer.executescript(SCHEMA)
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []

    def _open(self, cache_kb: int) -> sqlite3.Connection:
        opened = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        opened.execute(f"PRAGMA cache_size=-{cache_kb}")
        return opened

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """From any thread."""
        reader: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if reader is None:
            reader = self._readers.connection = self._open(READERS_CACHE_KB)
            reader.row_factory = lambda cursor, row: dict(zip((one[0] for one in cursor.description), row, strict=True))
            reader.execute("PRAGMA query_only=ON")
            self._opened.append(reader)
        return reader.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        return next(iter(self.rows(sql, parameters)), None)

    def write(self, statements: Iterable[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        """One transaction, by the one thread that feeds."""
        self.writer.execute("BEGIN")
        for sql, rows in statements:
            if rows:
                self.writer.executemany(sql, rows)
        self.writer.execute("COMMIT")

    def delete(self, statements: Iterable[str], parameters: Sequence[Any]) -> int:
        """One transaction, by the one thread that feeds; how many rows the last statement took away."""
        self.writer.execute("BEGIN")
        counts = [self.writer.execute(sql, parameters).rowcount for sql in statements]
        self.writer.execute("COMMIT")
        return counts[-1]

    def close(self) -> None:
        for connection in (*self._opened, self.writer):
            connection.close()
        self._folder.cleanup()
