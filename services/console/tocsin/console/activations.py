"""Activations as they stand: `activations` read to its end."""

from __future__ import annotations

from confluent_kafka import KafkaException

from tocsin.dispatcher.reading import ends_of, read_until
from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError, CodecError
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import ACTIVATIONS


def read_activations(settings: CommonSettings) -> dict[str, Activation]:
    """The newest record of each, by id; one that can't be read is left out. Raises BrokerError, TopicError."""
    partitions = kafka.check_topics(settings, [ACTIVATIONS])[ACTIVATIONS]
    keys = [(settings.topic(ACTIVATIONS), partition) for partition in range(partitions)]
    found: dict[str, Activation] = {}
    try:
        for message in read_until(settings, dict.fromkeys(keys), ends_of(settings, keys)):
            try:
                activation = Activation.decode(message.value())
            except CodecError:
                continue
            found[activation.id] = activation
    except KafkaException as error:
        raise BrokerError(f"activations could not be read: {error.args[0]}") from None
    return found
