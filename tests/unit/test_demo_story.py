"""What the demo takes for seen."""

from __future__ import annotations

from typing import Any

from tocsin.deploy.demo.story import Story


def event(kind: str, id_: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": id_,
        "activation_id": "activation",
        "notification": {"name": "A system is busy"},
        "matched": 1,
        "reporting": 1,
        "threshold": {"text": "1"},
    }


def audit(kind: str, delivery: str, event_id: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "delivery_id": delivery,
        "event_id": event_id,
        "recipient": {"name": f"recipient of {delivery}"},
    }


def a_story_with(*deliveries: str) -> Story:
    """Activated, and delivered to all."""
    story = Story("host", since_ms=0, triggered=True)
    story.event(event("activated", "first"))
    for delivery in deliveries:
        story.audit(audit("routed", delivery, "first"))
        story.webhook({"id": delivery, "verified": True})
        story.mail(f"<{delivery}@tocsin>", "oncall@example.com", "busy")
        story.audit(audit("delivered", delivery, "first"))
    return story


def test_everything_is_seen_when_both_deliveries_have_one_end() -> None:
    assert a_story_with("d1", "d2").missing() == []


def test_a_delivery_that_ended_twice_is_missing_its_proof() -> None:
    story = a_story_with("d1", "d2")
    story.audit(audit("delivered", "d2", "first"))
    assert story.missing() == ["the audit of the delivery to recipient of d2 says delivered, delivered"]


def test_deliveries_count_whichever_topic_is_read_first() -> None:
    story = Story("host", since_ms=0, triggered=True)
    story.audit(audit("routed", "d1", "first"))
    story.event(event("activated", "first"))
    story.audit(audit("routed", "d2", "first"))
    assert set(story.deliveries) == {"d1", "d2"}


def test_it_is_over_when_all_have_been_told_of_the_end() -> None:
    story = a_story_with("d1", "d2")
    told = [
        lambda: story.event(event("resolved", "last")),
        lambda: story.audit(audit("routed", "d3", "last")),
        lambda: story.audit(audit("delivered", "d3", "last")),
        lambda: story.audit(audit("routed", "d4", "last")),
        lambda: story.audit(audit("delivered", "d4", "last")),
    ]
    over = []
    for tell in told:
        tell()
        over.append(story.is_over)
    assert over == [False, False, False, False, True]


def test_deliveries_of_another_event_end_nothing() -> None:
    story = a_story_with("d1", "d2")
    story.event(event("resolved", "last"))
    for delivery in ("d3", "d4"):
        story.audit(audit("routed", delivery, "reminder"))
        story.audit(audit("delivered", delivery, "reminder"))
    assert not story.is_over
