"""An open activation ended by hand, from a page or the API: what the command does, against the read model."""

from __future__ import annotations

from tocsin.console.quieting import dismiss
from tocsin.console.state import ConflictError
from tocsin.console.web.context import Console
from tocsin.console.web.problems import not_found
from tocsin.shared.configuration.records import Dismissal


async def dismiss_activation(services: Console, activation_id: str, actor: str, comment: str) -> bool:
    """False: somebody has dismissed it already. Raises ProblemError 404, ConflictError when it is over."""
    found = await services.queries.activation(activation_id)
    if found is None:
        raise not_found(f"activation {activation_id[:64]}")
    if services.directory.state.find(Dismissal.kind, found["id"]) is not None:
        return False
    if found["state"] != "active":
        raise ConflictError(f"the activation of {found['notification']['name']!r} is over: it is {found['state']}")
    now, made = services.clock.now_ms(), services.editor.new_id()
    change = await services.editor.write(
        lambda state: dismiss(state, found["id"], by=actor, comment=comment, new_id=made, now_ms=now), actor
    )
    return change is not None
