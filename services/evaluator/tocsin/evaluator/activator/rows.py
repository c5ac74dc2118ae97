"""The rows of the partitions owned here, decoded, beside the table that keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tocsin.evaluator.core.activation_partition import TICK_KEY, Record, Refused, Taken, Write, take
from tocsin.evaluator.core.activation_row import Pending, Row, decode_row
from tocsin.evaluator.core.lifecycle import State
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.errors import CodecError
from tocsin.shared.partitioning import partition_for
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)


class Rows:
    """Rows by partition, and how far what each notification has put out is known to be on its topics."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions  # of the topic, not only those owned
        self._rows: dict[int, dict[str, Row]] = {}
        self._active: set[str] = set()
        self._sent: dict[str, int] = {}
        self._last: dict[str, str] = {}  # the id of what has that place

    def restore(self, table: Mapping[bytes, bytes], owned: Iterable[int]) -> list[tuple[str, Pending]]:
        """Begin anew from what the changelog has. Returns all that is not known to be out, in order."""
        self._rows = {partition: {} for partition in owned}
        for key, value in table.items():
            rows = self._rows.get(partition_for(key, self.partitions))
            row = readable(key, value)
            if rows is not None and row is not None:
                rows[row.notification_id] = row
        rows_of_all = [row for rows in self._rows.values() for row in rows.values()]
        self._active = {row.notification_id for row in rows_of_all if row.state is State.ACTIVE}
        metrics.ACTIVATIONS_OPEN.set(len(self._active))
        # Places may have begun anew elsewhere; ids never come twice.
        known = {event.id for row in rows_of_all for event in row.outbox} & set(self._last.values())
        self._last = {name: event for name, event in self._last.items() if event in known}
        self._sent = {name: self._sent[name] for name in self._last}
        return [
            (row.notification_id, event)
            for row in rows_of_all
            for event in row.outbox
            if event.place > self._sent.get(row.notification_id, 0)
        ]

    def take(self, record: Record, book: Rulebook) -> Taken | Refused:
        """Judge a record and keep what follows; the caller has to write it."""
        rows = self._rows.setdefault(record.place.partition, {})
        taken = take(record, self.partitions, rows, self._sent, book)
        if isinstance(taken, Taken):
            for write in taken.writes:
                self._keep(rows, write)
        return taken

    def unsent(self, key: bytes | None, partition: int) -> int:
        """How much of what the notification of this key has put out is not known to be out; of a tick: at most."""
        rows = self._rows.get(partition, {})
        if key == TICK_KEY:
            return max((self._unsent(row) for row in rows.values() if row.outbox), default=0)
        row = rows.get(key.decode(errors="replace")) if key else None
        return self._unsent(row) if row is not None else 0

    def _unsent(self, row: Row) -> int:
        sent = self._sent.get(row.notification_id, 0)
        return sum(event.place > sent for event in row.outbox)

    def sent(self, events: Iterable[tuple[str, Pending]]) -> None:
        """These of these notifications are acknowledged."""
        for notification_id, event in events:
            if event.place > self._sent.get(notification_id, 0):
                self._sent[notification_id], self._last[notification_id] = event.place, event.id
            if event.event:
                metrics.EVENTS_PUBLISHED.labels(event.kind).inc()

    def _keep(self, rows: dict[str, Row], write: Write) -> None:
        name, row = write.notification_id, write.row
        if row is None:
            del rows[name]
            self._sent.pop(name, None)
            self._last.pop(name, None)
        else:
            rows[name] = row
        if row is not None and row.state is State.ACTIVE:
            self._active.add(name)
        else:
            self._active.discard(name)
        metrics.ACTIVATIONS_OPEN.set(len(self._active))


def readable(key: bytes, value: bytes) -> Row | None:
    """The row, when it is one and stands under its own key; else None, logged."""
    try:
        row = decode_row(value)
    except CodecError as error:
        log.error("row of the changelog cannot be read; passed over", key=repr(key[:64]), why=str(error)[:200])
        return None
    if row.notification_id.encode() != key:
        log.error("row of the changelog stands under another key; passed over", key=repr(key[:64]))
        return None
    return row
