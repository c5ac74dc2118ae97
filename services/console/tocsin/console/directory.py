"""The configuration as it stands, for reading: followed live, never asked of the broker for a request."""

from __future__ import annotations

from tocsin.console.state import Change, State
from tocsin.console.yaml_export import names_of
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.configuration.records import Notification, Record, Token, User

SEEN_WITHIN_SECONDS = 5.0


class Directory:
    """Records by kind, id and name. Used from one event loop."""

    def __init__(self, follower: ConfigurationFollower) -> None:
        self._follower = follower
        self._state = State()
        self._names: dict[str, str] = {}
        self._tokens: dict[str, Token] = {}
        self._written = State()  # what the last change made here led to

    @property
    def state(self) -> State:
        current = self._follower.current
        if self._written.change > current.change:
            self._show(self._written)
        elif current.records is not self._state.records:
            self._show(State(current.change, current.records, self._follower.unreadable))
        return self._state

    def wait_for(self, change: int) -> bool:
        """Until this change is to be seen here; from any thread."""
        return self._written.change >= change or self._follower.wait_for(change, SEEN_WITHIN_SECONDS)

    def written(self, change: Change) -> None:
        """A durable change made here is visible here at once, not only when it has come back."""
        self._written = change.state

    def _show(self, state: State) -> None:
        if state.records is self._state.records:
            return
        self._state, self._names = state, names_of(state)
        tokens = (record for record in state.records.values() if isinstance(record, Token))
        self._tokens = {token.token_hash: token for token in tokens}

    @property
    def names(self) -> dict[str, str]:
        """Of all records, by id."""
        _ = self.state
        return self._names

    def token(self, token_hash: str) -> Token | None:
        _ = self.state
        return self._tokens.get(token_hash)

    def user(self, name: str) -> User | None:
        try:
            found = self.state.find(User.kind, name)
        except ValueError:
            return None
        return found if isinstance(found, User) else None

    def get(self, kind: str, record_id: str) -> Record | None:
        """By id, of that kind."""
        found = self.state.by_id(record_id)
        return found if found is not None and found.kind == kind else None

    def has_users(self) -> bool:
        return bool(self.state.of_kind(User.kind))

    def notifications(self) -> list[Notification]:
        return [one for one in self.state.of_kind(Notification.kind) if isinstance(one, Notification)]

    def users_of(self, kind: str, record_id: str) -> list[Notification]:
        """The notifications that name a sensor, group or recipient."""
        return [one for one in self.notifications() if record_id in _named(one, kind)]


def _named(notification: Notification, kind: str) -> tuple[str, ...]:
    match kind:
        case "sensor":
            return tuple(use.sensor_id for use in notification.sensors)
        case "group":
            return (notification.group_id,) if notification.group_id else ()
        case "recipient":
            return notification.recipient_ids
        case _:
            return ()
