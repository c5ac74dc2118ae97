"""What a soak's topics say, read from their beginning."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress

from confluent_kafka import KafkaException, TopicPartition

from publishing_model import Change, SlowDetector
from soak_feed import NOTIFICATIONS, SENSORS
from support import read_all
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared import kafka
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.schemas.system import MatchedSystem
from tocsin.shared.schemas.tally import Tally
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import NOTIFICATION_SYSTEMS, NOTIFICATION_TALLIES, SENSOR_CHANGES, SENSOR_READINGS


class Logs:
    """Of one run."""

    def __init__(self, settings: CommonSettings) -> None:
        self.settings = settings

    def model(self) -> SlowDetector:
        return SlowDetector(SENSORS).read(read_all(self.settings, SENSOR_READINGS))

    def changes(self) -> dict[tuple[str, str], list[Change]]:
        found: dict[tuple[str, str], list[Change]] = defaultdict(list)
        ids = set()
        for message in read_all(self.settings, SENSOR_CHANGES):
            change = SensorChange.decode(message.value())
            assert change.id not in ids, "a change came twice"
            ids.add(change.id)
            assert change.value is not None
            series = change.system if change.instance is None else f"{change.system}/{change.instance}"
            found[change.sensor_id, series].append((change.state, change.value, change.time))
        return dict(found)

    def listed(self) -> dict[str, set[str]]:
        newest = {message.key(): message.value() for message in read_all(self.settings, NOTIFICATION_SYSTEMS)}
        found: dict[str, set[str]] = {one.id: set() for one in NOTIFICATIONS}
        for value in newest.values():
            if value is not None:
                row = MatchedSystem.decode(value)
                found[row.notification_id].add(row.system)
        return found

    def counted(self) -> dict[str, int]:
        newest: dict[tuple[str, int], Tally] = {}
        for message in read_all(self.settings, NOTIFICATION_TALLIES):
            if message.key() == b"tick":
                continue
            tally = Tally.decode(message.value())
            known = newest.get((tally.notification_id, tally.partition))
            if known is None or (tally.epoch, tally.counter) > (known.epoch, known.counter):
                newest[tally.notification_id, tally.partition] = tally
        counts: dict[str, int] = defaultdict(int)
        for (id_, _), tally in newest.items():
            counts[id_] += tally.matched
        return dict(counts)

    def lag(self) -> int:
        """Records of the tallies that no activator has committed yet."""
        group = kafka.consumer(self.settings.kafka, self.settings.topic("tocsin-activator"))
        try:
            places = [
                TopicPartition(self.settings.topic(NOTIFICATION_TALLIES), partition)
                for partition in range(self.settings.partitions_default)
            ]
            lag = 0
            for place in group.committed(places, timeout=10):
                _, end = group.get_watermark_offsets(place, timeout=10)
                lag += end - max(place.offset, 0)
            return lag
        except KafkaException:
            return 1 << 30
        finally:
            with suppress(KafkaException):
                group.close()

    def book(self) -> Rulebook:
        follower = ConfigurationFollower(self.settings)
        try:
            return Rulebook.of(follower.start(), self.settings.console_url)
        finally:
            follower.close()
