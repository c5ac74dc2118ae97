"""One change composed: names, revisions, references."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tocsin.console.state import MAX_VALUE_BYTES, ConflictError, Delete, Put, State, compose
from tocsin.shared.configuration.names import record_key
from tocsin.shared.configuration.records import Group, Notification, Record, Sensor, SensorUse, Settings, ThresholdSpec

SENSOR = Sensor.model_validate({"id": "s1", "name": "CPU", "metric": "m", "trigger": "> 1", "revision": 3})
NOTIFICATION = Notification(
    id="n1",
    name="N",
    sensors=(SensorUse(sensor_id="s1"),),
    threshold=ThresholdSpec(value=Decimal(1), is_percent=False),
    recipient_ids=(),
    revision=3,
)
SETTINGS = Settings(id="x", name="deployment", tenant_id="t", revision=1)


def state(*records: Record) -> State:
    return State(5, {record_key(record.kind, record.name): record for record in (SETTINGS, *records)})


def test_a_change_stamps_what_it_writes_and_nothing_else() -> None:
    change = compose(state(SENSOR), [Put(Group(id="g1", name="G"))], 6, 1000)
    assert [entry.key for entry in change.entries] == ["group/g"]
    written = change.entries[0].after
    assert written is not None
    assert (written.revision, written.updated_at) == (6, 1000)
    assert change.state.find("sensor", "CPU") is SENSOR


@pytest.mark.parametrize("expected", [0, 2, 4])
def test_a_record_changed_meanwhile_is_not_overwritten(expected: int) -> None:
    with pytest.raises(ConflictError, match="'CPU' has been changed meanwhile"):
        compose(state(SENSOR), [Put(SENSOR, expected)], 6, 0)
    with pytest.raises(ConflictError, match="meanwhile"):
        compose(state(SENSOR), [Delete("s1", expected)], 6, 0)


def test_a_record_deleted_meanwhile_is_not_brought_back() -> None:
    with pytest.raises(ConflictError, match="meanwhile"):
        compose(state(), [Put(SENSOR, 3)], 6, 0)


def test_a_name_already_taken_is_refused() -> None:
    other = SENSOR.model_copy(update={"id": "s2", "name": " cpu "})
    with pytest.raises(ConflictError, match="the name ' cpu ' is already taken by another sensor"):
        compose(state(SENSOR), [Put(other)], 6, 0)


def test_a_rename_is_a_tombstone_and_a_put_with_the_same_id() -> None:
    renamed = SENSOR.model_copy(update={"name": "Processor"})
    change = compose(state(SENSOR), [Put(renamed, 3)], 6, 0)
    assert [(entry.key, entry.after and entry.after.id) for entry in change.entries] == [
        ("sensor/cpu", None),
        ("sensor/processor", "s1"),
    ]


def test_two_records_may_change_names_with_each_other() -> None:
    other = SENSOR.model_copy(update={"id": "s2", "name": "RAM"})
    swapped = [
        Put(SENSOR.model_copy(update={"name": "RAM"})),
        Put(other.model_copy(update={"name": "CPU"})),
    ]
    change = compose(state(SENSOR, other), swapped, 6, 0)
    assert {entry.key: entry.after and entry.after.id for entry in change.entries} == {
        "sensor/cpu": "s2",
        "sensor/ram": "s1",
    }


def test_a_sensor_still_in_use_is_not_deleted() -> None:
    with pytest.raises(ConflictError, match="sensor 'CPU' is used by notification 'N'"):
        compose(state(SENSOR, NOTIFICATION), [Delete("s1")], 6, 0)
    change = compose(state(SENSOR, NOTIFICATION), [Delete("s1"), Delete("n1")], 6, 0)
    assert change.state.of_kind("sensor") == []


def test_a_notification_naming_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ConflictError, match="sensor that does not exist is used by notification 'N'"):
        compose(state(), [Put(NOTIFICATION)], 6, 0)


def test_a_reference_broken_before_does_not_block_other_changes() -> None:
    change = compose(state(NOTIFICATION), [Put(Group(id="g1", name="G"))], 6, 0)
    assert change.state.find("group", "G") is not None


def test_the_first_change_brings_the_settings_along() -> None:
    change = compose(State(), [Put(SENSOR)], 1, 0)
    assert {entry.key for entry in change.entries} == {"sensor/cpu", "settings/deployment"}


def test_a_record_has_a_bounded_size() -> None:
    huge = Group(id="g1", name="G", systems=("x" * MAX_VALUE_BYTES,))
    with pytest.raises(ConflictError, match="at most 256 KiB"):
        compose(state(), [Put(huge)], 6, 0)
