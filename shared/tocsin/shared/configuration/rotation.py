"""What becomes of a signing secret that is replaced. Pure.

It goes on signing beside the new one for `keep_old`, so that a receiver may change over at its leisure. Where a header
holds one value only (GitHub's, or the secret itself) there is no beside.
"""

from __future__ import annotations

from tocsin.shared.configuration.records import Recipient, RetiredSecret, SignedSecret

SIDE_BY_SIDE = frozenset({"standard", "ed25519"})
"""Schemes whose header takes several signatures."""

MAX_RETIRED = 5


def signed_secret(recipient: Recipient | None) -> SignedSecret | None:
    """How the recipient's webhook is signed; None when it isn't."""
    if recipient is None or recipient.webhook is None:
        return None
    authentication = recipient.webhook.authentication
    return authentication if isinstance(authentication, SignedSecret) else None


def with_retired(before: Recipient | None, after: Recipient, now_ms: int) -> Recipient:
    """`after` with the secrets that go on signing. To be asked at each write of a recipient; twice changes nothing."""
    new, old = signed_secret(after), signed_secret(before)
    if after.webhook is None or new is None:
        return after
    retired = _retired(old, new, now_ms)
    if retired == new.retired:
        return after
    authentication = new.model_copy(update={"retired": retired})
    return after.model_copy(update={"webhook": after.webhook.model_copy(update={"authentication": authentication})})


def _retired(old: SignedSecret | None, new: SignedSecret, now_ms: int) -> tuple[RetiredSecret, ...]:
    if old is None or new.scheme not in SIDE_BY_SIDE:
        return ()
    last = now_ms + new.keep_old
    kept = [one.model_copy(update={"until": min(one.until, last)}) for one in old.retired]
    if old.secret != new.secret:
        # Those that have ended are left alone until now: an apply that changes nothing must change nothing.
        kept = [one for one in kept if one.until > now_ms and one.secret != new.secret]
        if old.scheme in SIDE_BY_SIDE and new.keep_old:
            kept.insert(0, RetiredSecret(secret=old.secret, scheme=old.scheme, until=last))
    return tuple(kept[:MAX_RETIRED])
