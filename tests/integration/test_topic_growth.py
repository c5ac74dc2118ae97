"""More partitions for the readings: what refuses to run says how, and that works."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions

from support import eventually, produce, read_all, settings_for, with_topics
from tocsin.deploy.stack import Stack
from tocsin.shared import kafka
from tocsin.shared.errors import TopicError
from tocsin.shared.topic_growth import grow_readings
from tocsin.shared.topics import DETECTOR_STATE, SENSOR_READINGS

pytestmark = pytest.mark.kafka


def test_readings_that_were_grown_by_hand_are_refused_with_a_way_out_that_works(stack: Stack, tmp_path: Path) -> None:
    settings = with_topics(settings_for(stack.bootstrap_servers, tmp_path))
    client = kafka.admin(settings.kafka)
    produce(kafka.producer(settings.kafka), settings.topic(DETECTOR_STATE), [(b"a", b"state of four partitions")])
    readings = settings.topic(SENSOR_READINGS)
    client.create_partitions([NewPartitions(readings, 6)])[readings].result()
    eventually(lambda: kafka.existing_partitions(client)[readings] == 6)
    with pytest.raises(TopicError, match=r"tocsin topics grow --to 6 --start-over"):
        kafka.check_topics(settings, [SENSOR_READINGS, DETECTOR_STATE], client)

    assert grow_readings(settings, 6) == 6
    assert kafka.check_topics(settings, [SENSOR_READINGS, DETECTOR_STATE], client) == {
        SENSOR_READINGS: 6,
        DETECTOR_STATE: 6,
    }
    assert read_all(settings, DETECTOR_STATE) == []
    assert grow_readings(settings, 8) == 6
    eventually(lambda: kafka.existing_partitions(client)[readings] == 8)
    with pytest.raises(TopicError, match="take none away"):
        grow_readings(settings, 4)
