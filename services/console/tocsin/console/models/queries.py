"""What is asked of the read models. Lists are pages in descending order of time; a key goes on where one ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tocsin.console.models.database import Database, Row
from tocsin.console.models.lives import steps_of
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.times import parse_rfc3339

DELIVERY_STATES = ("waiting", "retrying", "delivered", "dead-lettered", "expired", "cancelled")
ACTIVATION_STATES = ("active", "resolved", "dismissed")
DAY_MS = 86_400_000
MOST_SYSTEMS = 10_000
"""Of an activation."""

MOST_LISTED = 500
"""In one answer."""

NOTICED_WITHIN_MS = 2_000
"""A detector looks once a second whether a system has begun to match, and its transaction takes a moment."""

Key = Sequence[Any] | None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and the key to go on after; None at the end."""

    rows: list[Row]
    next: list[Any] | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries; None is any. Times are of routing."""

    recipient: str | None = None
    notification: str | None = None
    activation: str | None = None
    state: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class _Table:
    """What a list is read from, and the two columns it is sorted by.

    `indexes`: by the columns that are asked for, the first that fits. SQLite itself would choose without knowing that
    one recipient has a hundred thousand deliveries and a state none.
    """

    name: str
    time: str
    id: str = "id"
    columns: str = "*"
    indexes: tuple[tuple[tuple[str, ...], str], ...] = ()
    only: str = ""  # a condition that always holds

    def index(self, asked: Collection[str]) -> str:
        return next(index for columns, index in self.indexes if all(column in asked for column in columns))


_DELIVERIES = _Table(
    "deliveries",
    "routed_at",
    indexes=(
        (("activation_id",), "deliveries_by_activation"),
        (("recipient_id", "state"), "deliveries_by_recipient_state"),
        (("recipient_id",), "deliveries_by_recipient"),
        (("notification_id", "state"), "deliveries_by_notification_state"),
        (("notification_id",), "deliveries_by_notification"),
        (("state",), "deliveries_by_state"),
        ((), "deliveries_by_time"),
    ),
)
_ACTIVATIONS = _Table(
    "activations",
    "activated_at",
    columns="id, notification_id, notification, state, activated_at, ended_at, matched, reporting",
    indexes=(
        (("notification_id", "state"), "activations_by_notification_state"),
        (("notification_id",), "activations_by_notification"),
        (("state",), "activations_by_state"),
        ((), "activations_by_time"),
    ),
)
_CHANGES = _Table(
    "changes",
    "time",
    indexes=(
        (("record_id",), "changes_by_record"),
        (("kind",), "changes_by_kind"),
        (("actor",), "changes_by_actor"),
        ((), "changes_by_time"),
    ),
)
_LETTERS = _Table(
    "letters",
    "time",
    "delivery_id",
    indexes=(
        (("recipient_id",), "letters_by_recipient"),
        (("notification_id",), "letters_by_notification"),
        ((), "letters_by_time"),
    ),
    only="open = 1",  # nobody has replayed them yet
)


class Queries:
    """Each runs on a thread, so that a slow one holds nobody up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return await asyncio.to_thread(self._database.rows, sql, parameters)

    async def _page(self, table: _Table, where: Mapping[str, Any], after: Key, limit: int) -> Page:
        """`where`: a column and its comparison, and the value; those whose value is None are left out."""
        time, id_ = table.time, table.id
        kept = {condition: value for condition, value in where.items() if value not in (None, "")}
        conditions = [*([table.only] if table.only else []), *(f"{condition} ?" for condition in kept)]
        parameters = list(kept.values())
        if after is not None:
            conditions.append(f"({time}, {id_}) < (?, ?)")
            parameters += after
        clause = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        asked = {condition.removesuffix(" =") for condition in kept}
        # Names of tables and columns are ours; every value is a parameter.
        sql = f"SELECT {table.columns} FROM {table.name} INDEXED BY {table.index(asked)}{clause} ORDER BY {time} DESC, {id_} DESC LIMIT ?"  # noqa: S608, E501
        rows = await self._rows(sql, [*parameters, limit + 1])
        return Page(rows[:limit], [rows[limit - 1][time], rows[limit - 1][id_]] if len(rows) > limit else None)

    async def deliveries(self, wanted: Wanted, after: Key = None, limit: int = 50) -> Page:
        where = {
            "recipient_id =": wanted.recipient,
            "notification_id =": wanted.notification,
            "activation_id =": wanted.activation,
            "state =": wanted.state,
            "routed_at >=": wanted.since,
            "routed_at <": wanted.until,
        }
        return await self._page(_DELIVERIES, where, after, limit)

    async def delivery(self, delivery_id: str) -> Row | None:
        """With `steps`, oldest first, and the event it is about, where that is still kept."""
        found = await self._rows("SELECT rowid AS place, * FROM deliveries WHERE id = ?", [delivery_id])
        if not found:
            return None
        place = found[0].pop("place")
        steps = await self._rows("SELECT records FROM steps WHERE delivery = ? ORDER BY rowid", [place])
        event = await self._rows("SELECT record FROM events WHERE id = ?", [found[0]["event_id"]])
        return {
            **found[0],
            "steps": steps_of(found[0], [row["records"] for row in steps]),
            "event": msgspec.json.decode(event[0]["record"]) if event else None,
        }

    async def activations(
        self,
        after: Key = None,
        limit: int = 50,
        *,
        notification: str | None = None,
        state: str | None = None,
        since: int | None = None,
    ) -> Page:
        where = {"notification_id =": notification, "state =": state, "activated_at >=": since}
        return await self._page(_ACTIVATIONS, where, after, limit)

    async def activation(self, activation_id: str) -> Row | None:
        """The record as its topic has it, with its events, oldest first."""
        found = await self._rows("SELECT record FROM activations WHERE id = ?", [activation_id])
        if not found:
            return None
        events = await self._rows("SELECT record FROM events WHERE activation_id = ? ORDER BY time", [activation_id])
        return {
            **msgspec.json.decode(found[0]["record"]),
            "events": [msgspec.json.decode(event["record"]) for event in events],
        }

    async def systems_at_activation(self, activation: Row) -> list[str]:
        """Sorted, at most MOST_SYSTEMS: those that its record names, then those that began to match first.

        The record has up to 100 of each input partition, exactly. The others are those that the detectors say matched
        then; they notice it up to a second late, and no more are taken than there were.
        """
        names = dict.fromkeys(activation.get("systems_at_activation", ()))
        wanted = min(activation.get("systems_total", 0), MOST_SYSTEMS)
        if activation.get("systems_truncated"):
            at = parse_rfc3339(activation["activated_at"])
            rows = await self._rows(
                "SELECT system, min(since) AS first FROM matched WHERE notification_id = ? AND since <= ? "
                "AND (until IS NULL OR until > ?) GROUP BY system ORDER BY first, system LIMIT ?",
                [activation["notification"]["id"], at + NOTICED_WITHIN_MS, at, wanted],
            )
            names.update(dict.fromkeys(row["system"] for row in rows))
        return sorted(list(names)[: max(wanted, len(activation.get("systems_at_activation", ())))])

    async def newest_event(self, notification_ids: Sequence[str] = ()) -> bytes | None:
        """The last event of these notifications; of any when none is named."""
        newest = "SELECT id FROM events ORDER BY time DESC LIMIT 1"
        if notification_ids:
            newest = (
                "SELECT (SELECT id FROM events WHERE notification_id = one.value ORDER BY time DESC LIMIT 1) "
                "FROM json_each(?) AS one"
            )
        sql = f"SELECT record FROM events WHERE id IN ({newest}) ORDER BY time DESC LIMIT 1"  # noqa: S608  ours
        found = await self._rows(sql, [json.dumps(list(notification_ids))] if notification_ids else [])
        return bytes(found[0]["record"]) if found else None

    async def changes(
        self, after: Key = None, limit: int = 50, *, record: str | None = None, kind: str | None = None, actor: str = ""
    ) -> Page:
        where = {"record_id =": record, "kind =": kind, "actor =": actor}
        page = await self._page(_CHANGES, where, after, limit)
        return Page([{**row, "record": msgspec.json.decode(row["record"])} for row in page.rows], page.next)

    async def dead_letters(
        self, after: Key = None, limit: int = 50, *, recipient: str | None = None, notification: str | None = None
    ) -> Page:
        """Those that are their delivery's last word: nobody has replayed them yet."""
        where = {"recipient_id =": recipient, "notification_id =": notification}
        page = await self._page(_LETTERS, where, after, limit)
        return Page([{**row, "record": msgspec.json.decode(row["record"])} for row in page.rows], page.next)

    async def dead_letter_records(self, delivery_ids: Sequence[str]) -> list[bytes]:
        marks = ", ".join("?" * len(delivery_ids))
        sql = f"SELECT record FROM letters WHERE delivery_id IN ({marks}) ORDER BY replay"  # noqa: S608
        return [bytes(row["record"]) for row in await self._rows(sql, list(delivery_ids))]

    async def failed_since(self, recipient: str, since: int) -> list[str]:
        sql = "SELECT delivery_id FROM letters WHERE recipient_id = ? AND time >= ?"
        return [row["delivery_id"] for row in await self._rows(sql, [recipient, since])]

    async def overview(self, now: int) -> Row:
        """Counts of what is active and failing."""
        active = await self._rows(
            "SELECT count(*) AS activations, coalesce(sum(matched), 0) AS systems "
            "FROM activations WHERE state = 'active'"
        )
        states = await self._rows(
            "SELECT state, count(*) AS count FROM deliveries WHERE state IN ('waiting', 'retrying') GROUP BY state "
            "UNION ALL SELECT state, count(*) FROM deliveries WHERE state IN ('delivered', 'dead-lettered', 'expired') "
            "AND routed_at >= ? GROUP BY state",
            [now - DAY_MS],
        )
        return {**active[0], "deliveries": {row["state"]: row["count"] for row in states}}

    async def last_deliveries(self, recipients: Sequence[str]) -> dict[str, Row]:
        """The newest delivery of each of these, by the recipient's id."""
        rows = await self._rows(
            "SELECT d.* FROM json_each(?) AS one JOIN deliveries AS d ON d.id = "
            "(SELECT id FROM deliveries INDEXED BY deliveries_by_recipient WHERE recipient_id = one.value "
            "ORDER BY routed_at DESC, id DESC LIMIT 1)",
            [json.dumps(list(recipients))],
        )
        return {row["recipient_id"]: row for row in rows}

    async def counts_of_recipient(self, recipient: str) -> dict[str, int]:
        sql = (
            "SELECT state, count(*) AS count FROM deliveries INDEXED BY deliveries_by_recipient_state "
            "WHERE recipient_id = ? GROUP BY state"
        )
        return {row["state"]: row["count"] for row in await self._rows(sql, [recipient])}

    async def recipient_states(self, recipients: Sequence[str] | None = None) -> dict[str, RecipientState]:
        """As the dispatchers see them, by recipient; of these, or of all."""
        sql = "SELECT * FROM recipient_states"
        if recipients is not None:
            sql += " WHERE recipient_id IN (SELECT value FROM json_each(?))"
        rows = await self._rows(sql, [] if recipients is None else [json.dumps(list(recipients))])
        return {row["recipient_id"]: RecipientState.decode(row["record"]) for row in rows}

    async def active_by_notification(self) -> dict[str, Row]:
        rows = await self._rows("SELECT * FROM activations WHERE state = 'active' ORDER BY activated_at")
        return {row["notification_id"]: row for row in rows}

    async def triggered_counts(self) -> dict[str, int]:
        """How many systems each sensor is triggered on."""
        rows = await self._rows(
            "SELECT sensor_id, count(DISTINCT system) AS count FROM states INDEXED BY states_triggered "
            "WHERE state = 'triggered' GROUP BY sensor_id"
        )
        return {row["sensor_id"]: row["count"] for row in rows}

    async def states_of_system(self, system: str) -> list[Row]:
        return await self._rows("SELECT * FROM states WHERE system = ? ORDER BY time DESC", [system])

    async def matched_systems(self, notification_id: str, after: str = "", limit: int = MOST_LISTED) -> list[str]:
        """Sorted, those after this one."""
        rows = await self._rows(
            "SELECT DISTINCT system FROM matched INDEXED BY matched_now WHERE notification_id = ? AND until IS NULL "
            "AND system > ? ORDER BY system LIMIT ?",
            [notification_id, after, limit],
        )
        return [row["system"] for row in rows]

    async def matched_count(self, notification_id: str) -> int:
        rows = await self._rows(
            "SELECT count(DISTINCT system) AS count FROM matched INDEXED BY matched_now "
            "WHERE notification_id = ? AND until IS NULL",
            [notification_id],
        )
        return int(rows[0]["count"])

    async def matches_of_systems(self, systems: Sequence[str]) -> list[Row]:
        """Notification, system and since when."""
        marks = ", ".join("?" * len(systems))
        sql = f"SELECT * FROM matched WHERE until IS NULL AND system IN ({marks})"  # noqa: S608  only question marks
        return await self._rows(sql, list(systems))

    async def triggered_on_systems(self, systems: Sequence[str]) -> list[Row]:
        """System and sensor."""
        marks = ", ".join("?" * len(systems))
        sql = f"SELECT system, sensor_id FROM states WHERE state = 'triggered' AND system IN ({marks})"  # noqa: S608
        return await self._rows(sql, list(systems))

    async def systems_with_problems(self) -> set[str]:
        """On which a sensor is triggered."""
        rows = await self._rows(
            "SELECT system FROM states WHERE state = 'triggered' UNION SELECT system FROM matched WHERE until IS NULL"
        )
        return {row["system"] for row in rows}
