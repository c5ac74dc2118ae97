"""Secrets at rest: AES-256-GCM, bound to the record and field they belong to.

The key ring comes from TOCSIN_SECRET_KEYS (`id:base64,id:base64`) or from a file with one `id:base64` a line that
only its owner may read. The first key encrypts; all of them decrypt, so a key is rotated by putting a new one first.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tocsin.shared.configuration.records import Ciphertext
from tocsin.shared.errors import SettingsError, TocsinError

_KEY_BYTES = 32
_NONCE_BYTES = 12


class UndecryptableError(TocsinError):
    """A secret cannot be decrypted with the keys at hand."""


class KeyRing:
    """Encrypts with the first key, decrypts with any."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise SettingsError("the key ring is empty")
        for name, key in keys.items():
            if len(key) != _KEY_BYTES:
                raise SettingsError(f"secret key {name!r} has {len(key)} bytes instead of {_KEY_BYTES}")
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    @staticmethod
    def _binding(record_id: str, field: str) -> bytes:
        return f"{record_id}\x1f{field}".encode()

    def encrypt(self, secret: str, record_id: str, field: str) -> Ciphertext:
        """`field` is the path inside the record, such as `webhook.authentication.secret`."""
        key_id, key = next(iter(self._keys.items()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        data = AESGCM(key).encrypt(nonce, secret.encode(), self._binding(record_id, field))
        return Ciphertext(key_id=key_id, nonce=base64.b64encode(nonce).decode(), data=base64.b64encode(data).decode())

    def decrypt(self, ciphertext: Ciphertext, record_id: str, field: str) -> str:
        """Raises UndecryptableError: unknown key, or a ciphertext moved from another record or field."""
        key = self._keys.get(ciphertext.key_id)
        if key is None:
            raise UndecryptableError(
                f"{field} was encrypted with the key {ciphertext.key_id!r}, which is not in the key ring; "
                "add it to TOCSIN_SECRET_KEYS or to the key file"
            )
        try:
            nonce, data = base64.b64decode(ciphertext.nonce), base64.b64decode(ciphertext.data)
            return AESGCM(key).decrypt(nonce, data, self._binding(record_id, field)).decode()
        except (InvalidTag, ValueError):
            raise UndecryptableError(f"{field} does not decrypt: it was changed, or moved from another place") from None


def parse_keys(text: str, origin: str) -> dict[str, bytes]:
    """Keys of `id:base64` entries, parted by commas or lines. Raises SettingsError without showing any key."""
    keys: dict[str, bytes] = {}
    for entry in text.replace("\n", ",").split(","):
        if not entry.strip() or entry.strip().startswith("#"):
            continue
        name, colon, encoded = entry.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not colon or not name or len(key) != _KEY_BYTES:
            raise SettingsError(f"{origin}: an entry is not `id:base64 of {_KEY_BYTES} bytes`")
        keys[name] = key
    if not keys:
        raise SettingsError(f"{origin}: holds no key")
    return keys


def load_key_ring(keys: str | None, key_file: Path, *, create: bool) -> KeyRing:
    """From the setting, else from the file; `create` makes the file when there is none (local stack)."""
    if keys:
        return KeyRing(parse_keys(keys, "TOCSIN_SECRET_KEYS"))
    if not key_file.exists():
        if not create:
            raise SettingsError(
                f"no secret keys: set TOCSIN_SECRET_KEYS to `id:base64 of {_KEY_BYTES} random bytes`, "
                f"or TOCSIN_SECRET_KEY_FILE to a file of mode 0600 with such a line ({key_file} does not exist)"
            )
        _create(key_file)
    mode = stat.S_IMODE(key_file.stat().st_mode)
    if mode & 0o077:
        raise SettingsError(f"{key_file} may be read by others (mode {mode:04o}); run: chmod 600 {key_file}")
    return KeyRing(parse_keys(key_file.read_text(), str(key_file)))


def _create(key_file: Path) -> None:
    key_file.parent.mkdir(parents=True, exist_ok=True)
    line = f"k1:{base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}\n"
    # Written aside and linked, so that two processes starting at once agree on one file.
    aside = key_file.with_name(f"{key_file.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(line)
    try:
        os.link(aside, key_file)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
