"""Sessions live in their cookie, encrypted and authenticated with the deployment's key ring.

So every console of a deployment knows every session, and a restart signs nobody out. A session ends when its time is
over, its user is disabled or has a new password, or it is signed out (which this process remembers until then).
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tocsin.shared.configuration.records import Ciphertext
from tocsin.shared.secrets import KeyRing, UndecryptableError

BINDING = "console-session"
MAX_COOKIE = 2_000


@dataclass(frozen=True, slots=True)
class Session:
    """What a cookie says."""

    user_id: str
    id: str
    csrf: str
    issued_at: int
    expires_at: int


class Sessions:
    """Makes and reads cookies."""

    def __init__(self, keys: Callable[[], KeyRing], lifetime_ms: int) -> None:
        self._keys = keys
        self._lifetime_ms = lifetime_ms
        self._ended: dict[str, int] = {}  # signed out → when it would have ended

    def begin(self, user_id: str, now_ms: int) -> tuple[Session, str]:
        """The session and its cookie."""
        session = Session(user_id, secrets.token_hex(16), secrets.token_urlsafe(24), now_ms, now_ms + self._lifetime_ms)
        return session, seal(self._keys(), BINDING, asdict(session))

    def read(self, cookie: str, now_ms: int) -> Session | None:
        """None when it is not one of ours, or over."""
        fields = unseal(self._keys(), BINDING, cookie)
        if fields is None:
            return None
        session = Session(**fields)
        if session.expires_at <= now_ms or session.id in self._ended:
            return None
        return session

    def end(self, session: Session, now_ms: int) -> None:
        self._ended = {id_: until for id_, until in self._ended.items() if until > now_ms}
        self._ended[session.id] = session.expires_at


def seal(keys: KeyRing, binding: str, fields: dict[str, object]) -> str:
    """Text that only this deployment can make or read."""
    sealed = keys.encrypt(json.dumps(fields), binding, binding)
    text = "\n".join((sealed.key_id, sealed.nonce, sealed.data))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unseal(keys: KeyRing, binding: str, text: str) -> dict[str, Any] | None:
    """None when it was not sealed here for this."""
    if len(text) > MAX_COOKIE:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode()
        key_id, nonce, data = raw.split("\n")
        found = json.loads(keys.decrypt(Ciphertext(key_id=key_id, nonce=nonce, data=data), binding, binding))
    except (ValueError, UndecryptableError):
        return None
    return found if isinstance(found, dict) else None
