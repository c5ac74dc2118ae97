"""Secrets of recipients, decrypted when they are needed. A key file is read then, too: no secret in use, no keys."""

from __future__ import annotations

from tocsin.shared.configuration.records import Ciphertext
from tocsin.shared.secrets import KeyRing, load_key_ring
from tocsin.shared.settings import CommonSettings


class Vault:
    """Reads the key ring at the first secret, and again after a failure: keys may be put there later.

    Keys given as a setting are looked at once and now. Raises SettingsError when they are none.
    """

    def __init__(self, settings: CommonSettings) -> None:
        self._settings = settings
        self._ring: KeyRing | None = self._read() if settings.secret_keys else None

    def open(self, ciphertext: Ciphertext, record_id: str, field: str) -> str:
        """Raises TocsinError: no keys, an unknown key, or a ciphertext that does not belong here."""
        if self._ring is None:
            self._ring = self._read()
        try:
            return self._ring.decrypt(ciphertext, record_id, field)
        except Exception:
            self._ring = None
            raise

    def _read(self) -> KeyRing:
        keys = self._settings.secret_keys
        return load_key_ring(keys.get_secret_value() if keys else None, self._settings.key_file(), create=False)
