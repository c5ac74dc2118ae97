"""Secrets of recipients, decrypted when they are needed. The keys are read then, too: no secret in use, no keys."""

from __future__ import annotations

from tocsin.shared.configuration.records import Ciphertext
from tocsin.shared.secrets import KeyRing, load_key_ring
from tocsin.shared.settings import CommonSettings


class Vault:
    """Reads the key ring at the first secret, and again after a failure: keys may be put there later."""

    def __init__(self, settings: CommonSettings) -> None:
        self._settings = settings
        self._ring: KeyRing | None = None

    def open(self, ciphertext: Ciphertext, record_id: str, field: str) -> str:
        """Raises TocsinError: no keys, an unknown key, or a ciphertext that does not belong here."""
        if self._ring is None:
            keys = self._settings.secret_keys
            self._ring = load_key_ring(
                keys.get_secret_value() if keys else None, self._settings.key_file(), create=False
            )
        try:
            return self._ring.decrypt(ciphertext, record_id, field)
        except Exception:
            self._ring = None
            raise
