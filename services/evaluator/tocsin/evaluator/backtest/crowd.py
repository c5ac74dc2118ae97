"""Who matches and who reports, through a chunk of readings: the counts of each notification at every instant.

Systems that report come and go by the thousand and are counted as columns. Systems on which a notification's sensors
are triggered are few: they are followed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tocsin.evaluator.backtest.reporting import NEVER_HEARD, Reporting, Rows, Toggles
from tocsin.evaluator.backtest.steps import Steps
from tocsin.evaluator.core.plan import Plan, PlannedNotification
from tocsin.evaluator.core.population import Triggered
from tocsin.evaluator.core.sensor_event import Standing
from tocsin.evaluator.detector.columns import Bools, Ints

Tags = Mapping[str, str]
NO_TAGS: Tags = {}

Happened = tuple[int, int, str, bool]
"""At an instant, of a system: what begins (or ceases) to hold."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A sensor stands otherwise on a system, seen at an instant."""

    time: int
    sensor_id: str
    system: int
    instance: str | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Retag:
    """A system's tags were given by a report."""

    time: int  # the instant
    system: int
    at: int  # the report's own time: the newest counts
    tags: Tags


@dataclass(frozen=True)
class Chunk:
    """What happened up to an instant, in order."""

    rows: Rows
    heard: Ints  # newest times by system, after it
    until: int
    switches: Sequence[Switch]
    retags: Sequence[Retag]


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one notification through a chunk. `entries`: (instant, system, whether it counts as matched now)."""

    matched: Steps
    reporting: Steps
    entries: Sequence[tuple[int, int, bool]]


class Crowd:
    """Begins with nobody. `name_of`: a system's name by its number."""

    def __init__(self, plan: Plan, name_of: Callable[[int], str]) -> None:
        self._plan = plan
        self._name_of = name_of
        self._triggered = Triggered()
        self._horizons = {one.within: Reporting(one.within) for one in plan.notifications.values()}
        keys = {(one.group, one.within) for one in plan.notifications.values()}
        self._present: dict[tuple[str, int], Bools] = {key: np.zeros(0, np.bool_) for key in keys}
        self._members: dict[str, Bools] = {group: np.zeros(0, np.bool_) for group in plan.groups}
        self._matching: dict[str, set[int]] = {id_: set() for id_ in plan.notifications}
        self._silent: dict[str, set[int]] = {id_: set() for id_ in plan.notifications}
        self._counted: dict[str, set[int]] = {id_: set() for id_ in plan.notifications}
        self._added: dict[str, set[int]] = {id_: set() for id_ in plan.notifications}
        self._tags: dict[int, tuple[int, Tags]] = {}

    def advance(self, chunk: Chunk) -> dict[str, Counts]:
        """The counts of every notification, by id."""
        self._grow(len(chunk.heard))
        toggles = {within: one.advance(chunk.rows, chunk.heard, chunk.until) for within, one in self._horizons.items()}
        memberships = self._retagged(chunk.retags)
        before = {key: int(np.count_nonzero(present)) for key, present in self._present.items()}
        presence: dict[tuple[str, int], Toggles] = {}
        for key in self._present:
            group, within = key
            presence[key] = self._presence(key, toggles[within], memberships.get(group, ()))
        switched = self._switched(chunk.switches)
        found = {}
        for id_, one in self._plan.notifications.items():
            key = (one.group, one.within)
            happened = [*switched.get(id_, ())]
            happened += [(time, system, "member", on) for time, system, _, on in memberships.get(one.group, ())]
            found[id_] = self._counts(one, before[key], presence[key], happened)
        for changes in memberships.values():
            for _, system, group, member in changes:
                self._members[group][system] = member
        for key, changed in presence.items():
            self._present[key][changed.system] = changed.on  # the last of each system stays
        return found

    def _grow(self, systems: int) -> None:
        for group, matches in self._plan.groups.items():
            known = self._members[group]
            new = [matches(self._name_of(system), NO_TAGS) for system in range(len(known), systems)]
            self._members[group] = np.concatenate([known, np.array(new, np.bool_)])
        for key, present in self._present.items():
            self._present[key] = np.concatenate([present, np.zeros(systems - len(present), np.bool_)])

    def _retagged(self, retags: Iterable[Retag]) -> dict[str, list[tuple[int, int, str, bool]]]:
        """By group: (instant, system, group, member)."""
        found: dict[str, list[tuple[int, int, str, bool]]] = {}
        for one in retags:
            at, tags = self._tags.get(one.system, (NEVER_HEARD, NO_TAGS))
            if one.at < at:
                continue
            self._tags[one.system] = (one.at, one.tags)
            if one.tags != tags:
                name = self._name_of(one.system)
                for group, matches in self._plan.groups.items():
                    found.setdefault(group, []).append((one.time, one.system, group, matches(name, one.tags)))
        return found

    def _presence(
        self, key: tuple[str, int], toggles: Toggles, memberships: Sequence[tuple[int, int, str, bool]]
    ) -> Toggles:
        """Members that begin or cease to report, or reporting systems that join or leave the group."""
        members = self._members[key[0]]
        moving = {system for _, system, _, _ in memberships}
        if not moving:
            return toggles.where(members[toggles.system])
        of_moving = np.isin(toggles.system, np.fromiter(moving, np.int64, len(moving)))
        plain = toggles.where(members[toggles.system] & ~of_moving)
        theirs = toggles.where(of_moving)
        happened: list[tuple[int, int, str, bool]] = [
            *((time, system, "reports", on) for time, system, on in _rows(theirs)),
            *((time, system, "member", member) for time, system, _, member in memberships),
        ]
        happened.sort(key=lambda item: item[0])
        present = self._present[key]
        # Before the chunk: who reports was asked of Reporting, which has moved on; a toggle says what it was not.
        state: dict[int, dict[str, bool]] = {}
        for system in moving:
            first = next((on for _, one, on in _rows(theirs) if one == system), None)
            reports = bool(self._horizons[key[1]].on[system]) if first is None else not first
            state[system] = {"reports": reports, "member": bool(members[system])}
        times, systems, ons = [], [], []
        now = {system: bool(present[system]) for system in moving}
        for time, system, what, value in happened:
            state[system][what] = value
            there = all(state[system].values())
            if there is not now[system]:
                now[system] = there
                times.append(time)
                systems.append(system)
                ons.append(there)
        return plain.merged(Toggles(np.array(times, np.int64), np.array(systems, np.int64), np.array(ons, np.bool_)))

    def _switched(self, switches: Iterable[Switch]) -> dict[str, list[Happened]]:
        """By notification: who begins or ceases to match, and to be triggered by silence."""
        found: dict[str, list[Happened]] = {}
        for one in switches:
            self._triggered.mark(one.sensor_id, one.system, one.instance, one.standing)
            for id_ in self._plan.by_sensor.get(one.sensor_id, ()):
                uses = self._plan.notifications[id_].uses
                for what, systems, now in (
                    ("matches", self._matching[id_], self._triggered.all_on(uses, one.system)),
                    ("silent", self._silent[id_], self._triggered.by_silence(uses, one.system)),
                ):
                    if now is not (one.system in systems):
                        (systems.add if now else systems.discard)(one.system)
                        found.setdefault(id_, []).append((one.time, one.system, what, now))
        return found

    def _counts(
        self, notification: PlannedNotification, reporting: int, presence: Toggles, happened: list[Happened]
    ) -> Counts:
        """`reporting`: how many members of the group reported before; `happened`: in order, what else there was."""
        id_ = notification.id
        followed = self._matching[id_] | self._silent[id_] | {one[1] for one in happened if one[2] != "member"}
        times, changes = presence.time, np.where(presence.on, 1, -1)
        before = len(self._counted[id_])
        reporting += len(self._added[id_])
        if not followed:
            none = np.zeros(0, np.int64)
            return Counts(Steps(before, none, none), Steps.of(reporting, times, changes), ())
        theirs = presence.where(np.isin(presence.system, np.fromiter(followed, np.int64, len(followed))))
        state = self._before(notification, followed, happened)
        happened = [one for one in happened if one[1] in followed]
        happened += [(time, system, "present", on) for time, system, on in _rows(theirs)]
        happened.sort(key=lambda item: item[0])
        entries: list[tuple[int, int, bool]] = []
        additions: list[tuple[int, int, bool]] = []
        for time, system, what, value in happened:
            its = state[system]
            its[what] = value
            added = its["silent"] and its["member"] and not its["present"]
            counts = its["matches"] and (its["present"] or added)
            for systems, now, changed in (
                (self._added[id_], added, additions),
                (self._counted[id_], counts, entries),
            ):
                if now is not (system in systems):
                    (systems.add if now else systems.discard)(system)
                    changed.append((time, system, now))
        added_times, added_changes = _changes(additions)
        steps = Steps.of(reporting, np.concatenate([times, added_times]), np.concatenate([changes, added_changes]))
        return Counts(Steps.of(before, *_changes(entries)), steps, entries)

    def _before(
        self, notification: PlannedNotification, followed: set[int], happened: Sequence[Happened]
    ) -> dict[int, dict[str, bool]]:
        """What held of these systems before the chunk: the sets have moved on, the first change says what it was."""
        first: dict[tuple[int, str], bool] = {}
        for _, system, what, value in happened:
            first.setdefault((system, what), not value)
        present = self._present[notification.group, notification.within]
        members, matching = self._members[notification.group], self._matching[notification.id]
        silent = self._silent[notification.id]
        return {
            system: {
                "present": bool(present[system]),
                "member": bool(members[system]),
                "matches": first.get((system, "matches"), system in matching),
                "silent": first.get((system, "silent"), system in silent),
            }
            for system in followed
        }


def _changes(happened: Sequence[tuple[int, int, bool]]) -> tuple[Ints, Ints]:
    times = np.array([time for time, _, _ in happened], np.int64)
    return times, np.array([1 if on else -1 for _, _, on in happened], np.int64)


def _rows(toggles: Toggles) -> Iterable[tuple[int, int, bool]]:
    return zip(toggles.time.tolist(), toggles.system.tolist(), toggles.on.tolist(), strict=True)
