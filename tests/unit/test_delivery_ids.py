"""Ids of deliveries and their audit records: UUIDv5 of their causes, whatever makes them."""

from __future__ import annotations

import json
import uuid

from tocsin.shared.ids import NAMESPACE, audit_id, delivery_id


def test_a_derived_id_is_the_uuid_that_the_standard_library_makes() -> None:
    for at in range(200):
        event, recipient = f"event {at}", f"recipient é {at * 7}"
        expected = uuid.uuid5(NAMESPACE, json.dumps(["delivery", event, recipient]))
        assert delivery_id(event, recipient) == str(expected)


def test_audit_ids_differ_by_delivery_replay_kind_and_attempt() -> None:
    causes = [(d, r, k, a) for d in ("d", "e") for r in (0, 1) for k in ("attempt", "delivered") for a in (1, 2)]
    assert len({audit_id(*cause) for cause in causes}) == 16
