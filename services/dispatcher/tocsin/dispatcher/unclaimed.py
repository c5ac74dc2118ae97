"""Partitions that the group has given to nobody.

Its leader gives out what topics it can see at that moment. Where one was out of sight (a right taken away for a while),
the client learns later that it is there again, and does not join anew for it: librdkafka 2.16. Nobody would read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from confluent_kafka import ConsumerGroupState, KafkaException, TopicCollection

from tocsin.shared.clock import Clock

ASK_EVERY = 15.0
ASK_TIMEOUT = 10.0


class Describer(Protocol):
    """What is needed of an admin client: answers that come later."""

    def describe_consumer_groups(self, group_ids: list[str], **kwargs: Any) -> Mapping[str, Future[Any]]: ...

    def describe_topics(self, topics: TopicCollection, **kwargs: Any) -> Mapping[str, Future[Any]]: ...


class Unclaimed:
    """Looks every so often. Used from one thread, which it never makes wait."""

    def __init__(self, admin: Describer, group: str, topics: Sequence[str], clock: Clock) -> None:
        self._admin = admin
        self._group = group
        self._topics = topics
        self._clock = clock
        self._ask_at = clock.monotonic() + ASK_EVERY
        self._asked: tuple[Future[Any], Mapping[str, Future[Any]]] | None = None

    def found(self) -> bool:
        """Whether there are any, as far as is known by now: then to join anew gives them to somebody."""
        if self._asked is None:
            if self._clock.monotonic() >= self._ask_at:
                groups = self._admin.describe_consumer_groups([self._group], request_timeout=ASK_TIMEOUT)
                topics = self._admin.describe_topics(TopicCollection(list(self._topics)), request_timeout=ASK_TIMEOUT)
                self._asked = (groups[self._group], topics)
            return False
        group, topics = self._asked
        if not (group.done() and all(one.done() for one in topics.values())):
            return False
        self._asked = None
        self._ask_at = self._clock.monotonic() + ASK_EVERY
        try:
            return self._are_left(group.result(), [one.result() for one in topics.values()])
        except KafkaException:
            return False  # what cannot be seen would not be given out now either

    def _are_left(self, group: Any, topics: Sequence[Any]) -> bool:
        if group.state != ConsumerGroupState.STABLE:
            return False  # being given out just now
        taken = {(one.topic, one.partition) for member in group.members for one in member.assignment.topic_partitions}
        return any((topic.name, part.id) not in taken for topic in topics for part in topic.partitions)
