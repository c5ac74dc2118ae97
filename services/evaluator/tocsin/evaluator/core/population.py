"""Who matches and who reports: the two counts of a notification in each input partition. Pure.

Systems are numbers here. A system matches when all the notification's sensors are triggered on it at the same time, at
the named level or above, it is in the group, and it is reporting. One on which a sensor of the notification is
triggered because it fell silent counts as reporting, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.core.plan import Plan, PlannedNotification, Use
from tocsin.evaluator.core.sensor import NONE
from tocsin.evaluator.core.sensor_event import Standing

Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]


_NOWHERE: Mapping[str | None, Standing] = MappingProxyType({})


class Triggered:
    """Where each sensor is triggered, and how."""

    def __init__(self) -> None:
        self._on: dict[str, dict[int, dict[str | None, Standing]]] = {}
        self._silences = 0  # how many of them are by silence

    def mark(self, sensor_id: str, system: int, instance: str | None, standing: Standing) -> None:
        if standing.level != NONE:
            instances = self._on.setdefault(sensor_id, {}).setdefault(system, {})
            before = instances.get(instance)
            instances[instance] = standing
            self._silences += standing.by_silence - (before is not None and before.by_silence)
            return
        systems = self._on.get(sensor_id)
        instances_or_none = systems.get(system) if systems else None
        if systems is None or instances_or_none is None:
            return
        before = instances_or_none.pop(instance, None)
        self._silences -= before is not None and before.by_silence
        if not instances_or_none:
            del systems[system]
            if not systems:
                del self._on[sensor_id]

    def all_on(self, uses: tuple[Use, ...], system: int) -> bool:
        """Whether every use is satisfied on this system."""
        for use in uses:  # no generators: it is asked at every change
            for instance, standing in self._instances(use, system).items():
                if standing.level >= use.level and (use.instance is None or use.instance == instance):
                    break
            else:
                return False
        return True

    def by_silence(self, uses: tuple[Use, ...], system: int) -> bool:
        """Whether one of them is, because the system fell silent."""
        return bool(self._silences) and any(
            standing.by_silence for use in uses for standing in self._satisfying(use, system)
        )

    def _instances(self, use: Use, system: int) -> Mapping[str | None, Standing]:
        systems = self._on.get(use.sensor_id)
        return _NOWHERE if systems is None else systems.get(system, _NOWHERE)

    def _satisfying(self, use: Use, system: int) -> Iterator[Standing]:
        for instance, standing in self._instances(use, system).items():
            if standing.level >= use.level and (use.instance is None or use.instance == instance):
                yield standing

    def silent(self, uses: tuple[Use, ...]) -> set[int]:
        """The systems where one of them is satisfied by silence."""
        return {
            system
            for use in uses
            for system in self._on.get(use.sensor_id, {})
            if any(standing.by_silence for standing in self._satisfying(use, system))
        }

    def candidates(self, uses: tuple[Use, ...]) -> set[int]:
        """The systems where every use is satisfied."""
        fewest = min((self._on.get(use.sensor_id, {}) for use in uses), key=len)
        return {system for system in fewest if self.all_on(uses, system)}


class Population:
    """Group membership and matching, kept up to date change by change."""

    def __init__(self, plan: Plan, describe: Callable[[int], tuple[str, Mapping[str, str]]]) -> None:
        """`describe` gives a system's name and tags."""
        self._plan = plan
        self._describe = describe
        self.triggered = Triggered()
        self._members: dict[str, Bools] = {}
        self._known = 0
        self._matching: dict[str, set[int]] = {}
        self._silent: dict[str, set[int]] = {}
        self.replan(plan)

    def replan(self, plan: Plan) -> None:
        """The configuration has changed: membership and matching are found anew."""
        self._plan = plan
        known, self._known = self._known, 0
        self._members = {group: np.zeros(0, np.bool_) for group in plan.groups}
        self.grow(known)
        self._matching = {
            notification.id: self.triggered.candidates(notification.uses)
            for notification in plan.notifications.values()
        }
        self._silent = {
            notification.id: self.triggered.silent(notification.uses) for notification in plan.notifications.values()
        }

    def grow(self, systems: int) -> None:
        """There are this many systems now."""
        if systems <= self._known:
            return
        new = [self._describe(system) for system in range(self._known, systems)]
        for group, matches in self._plan.groups.items():
            added = np.fromiter((matches(name, tags) for name, tags in new), np.bool_, len(new))
            self._members[group] = np.concatenate([self._members[group], added])
        self._known = systems

    def retag(self, system: int) -> None:
        """A system's tags have changed."""
        if system < self._known:
            for group, matches in self._plan.groups.items():
                self._members[group][system] = matches(*self._describe(system))

    def change(self, sensor_id: str, system: int, instance: str | None, standing: Standing) -> tuple[str, ...]:
        """A sensor stands so now; the notifications that name it."""
        self.triggered.mark(sensor_id, system, instance, standing)
        ids = self._plan.by_sensor.get(sensor_id, ())
        for notification_id in ids:
            uses = self._plan.notifications[notification_id].uses
            _set(self._matching[notification_id], system, self.triggered.all_on(uses, system))
            _set(self._silent[notification_id], system, self.triggered.by_silence(uses, system))
        return ids

    def reporting(self, group: str, heard: Numbers, partition: Numbers, horizons: Numbers) -> tuple[Bools, list[int]]:
        """Which systems of the group report, and how many by partition.

        `heard`, `partition`: by system. `horizons`: by partition, from PartitionTime.
        """
        members = self._members[group]
        size = len(members)
        # A time below zero: its name is known, but no reading of it has counted.
        mask = members & (heard[:size] > horizons[partition[:size]]) & (heard[:size] >= 0)
        return mask, np.bincount(partition[:size][mask], minlength=len(horizons)).tolist()

    def with_silent(
        self,
        notification: PlannedNotification,
        reporting: tuple[Bools, list[int]],
        heard: Numbers,
        partition: Numbers,
        horizons: Numbers,
    ) -> tuple[Bools, list[int]]:
        """Who reports, and the systems of its group that a sensor of this notification is triggered on by silence.

        `horizons`: by partition, before which a system is forgotten.
        """
        silent = self._silent[notification.id]
        if not silent:
            return reporting
        mask, counts = reporting
        members = self._members[notification.group]
        systems = np.fromiter(silent, np.int64, len(silent))
        remembered = heard[systems] > horizons[partition[systems]]
        added = systems[members[systems] & ~mask[systems] & remembered]
        mask = mask.copy()
        mask[added] = True
        return mask, (np.array(counts) + np.bincount(partition[added], minlength=len(counts))).tolist()

    def matched(self, notification_id: str, reporting: Bools, partition: Numbers, partitions: int) -> list[list[int]]:
        """The matching systems that report, by partition, ascending."""
        found: list[list[int]] = [[] for _ in range(partitions)]
        matching = self._matching[notification_id]
        if matching:
            systems = np.sort(np.fromiter(matching, np.int64, len(matching)))
            systems = systems[reporting[systems]]
            for system, at in zip(systems.tolist(), partition[systems].tolist(), strict=True):
                found[at].append(system)
        return found


def _set(systems: set[int], system: int, inside: bool) -> None:
    if inside:
        systems.add(system)
    else:
        systems.discard(system)
