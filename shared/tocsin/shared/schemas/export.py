"""The JSON Schema file of each topic that has one: `python -m tocsin.shared.schemas.export docs/schemas`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.audit import AuditRecord
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.schemas.delivery import DeadLetter, Delivery
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.reading import Reading, Report
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.schemas.system import MatchedSystem
from tocsin.shared.schemas.tally import Tally, Tick
from tocsin.shared.topics import topic_table

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MODELS: Mapping[str, Any] = MappingProxyType(
    {
        "reading": Reading | Report,
        "sensor-change": SensorChange,
        "tally": Tally | Tick,
        "matched-system": MatchedSystem,
        "notification-event": NotificationEvent,
        "activation": Activation,
        "delivery": Delivery,
        "dead-letter": DeadLetter,
        "audit": AuditRecord,
        "recipient-state": RecipientState,
    }
)
"""By the stem that the table of topics names."""


def schema_of(stem: str) -> dict[str, Any]:
    """Of what a reader must accept: fields with a default may be missing, unknown ones may be there."""
    schema = TypeAdapter(MODELS[stem]).json_schema(by_alias=True, mode="validation")
    topics = sorted({_family(topic.name) for topic in topic_table() if topic.schema == stem})
    head = {
        "$schema": DIALECT,
        "$id": f"urn:tocsin:schema:{stem}:1",
        "$comment": f"Values of {', '.join(topics)}. Generated; do not edit.",
    }
    return {**head, **schema}


def _family(topic: str) -> str:
    return "delivery-retry-*" if topic.startswith("delivery-retry-") else topic


def render(stem: str) -> str:
    return json.dumps(schema_of(stem), indent=2, ensure_ascii=False) + "\n"


def export(folder: Path) -> list[Path]:
    """Write all files; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stem in MODELS:
        path = folder / f"{stem}.json"
        path.write_text(render(stem), encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for file in export(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas")):
        print(file)
