"""Reading one partition of `router-state` back."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.dispatcher.core.routing import RouterRow
from tocsin.dispatcher.reading import ends_of, read_until
from tocsin.dispatcher.settings import RouterSettings
from tocsin.shared.errors import CodecError
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import ROUTER_STATE

log = logger(__name__)


def read_rows(settings: RouterSettings, number: int, stopping: Callable[[], bool]) -> dict[str, RouterRow]:
    """The newest row of each notification. Raises KafkaException when the partition cannot be read to its end."""
    partition = (settings.topic(ROUTER_STATE), number)
    newest: dict[str, bytes] = {}
    for message in read_until(settings, {partition: None}, ends_of(settings, [partition]), stopping):
        key, value = (message.key() or b"").decode(errors="replace"), message.value()
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value
    rows: dict[str, RouterRow] = {}
    for key, value in newest.items():
        try:
            rows[key] = RouterRow.decode(value)
        except CodecError as error:
            # Forgetting a row lets a repeat pass; refusing to start would lose everything.
            log.error("a row of router-state cannot be read and is forgotten", key=key, why=str(error))
    return rows
