"""The key ring: bound ciphertexts, rotation, files that others may not read."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

import pytest

from tocsin.shared.errors import SettingsError
from tocsin.shared.secrets import KeyRing, UndecryptableError, load_key_ring, parse_keys

OLD, NEW = b"1" * 32, b"2" * 32
ENCODED = base64.b64encode(OLD).decode()


def test_a_secret_comes_back_only_for_its_own_record_and_field() -> None:
    ring = KeyRing({"k1": OLD})
    ciphertext = ring.encrypt("geheim", "r1", "webhook.authentication.secret")
    assert ring.decrypt(ciphertext, "r1", "webhook.authentication.secret") == "geheim"
    for record, field in (("r2", "webhook.authentication.secret"), ("r1", "webhook.authentication.password")):
        with pytest.raises(UndecryptableError, match="moved from another place"):
            ring.decrypt(ciphertext, record, field)


def test_the_same_secret_is_never_the_same_ciphertext() -> None:
    ring = KeyRing({"k1": OLD})
    assert ring.encrypt("x", "r", "f") != ring.encrypt("x", "r", "f")


@pytest.mark.parametrize("field", ["nonce", "data"])
def test_a_changed_ciphertext_does_not_decrypt(field: str) -> None:
    ring = KeyRing({"k1": OLD})
    ciphertext = ring.encrypt("geheim", "r", "f")
    bad = bytearray(base64.b64decode(getattr(ciphertext, field)))
    bad[0] ^= 1
    for changed in (base64.b64encode(bytes(bad)).decode(), "", "not base64!"):
        with pytest.raises(UndecryptableError):
            ring.decrypt(ciphertext.model_copy(update={field: changed}), "r", "f")


def test_after_a_rotation_old_secrets_decrypt_and_new_ones_use_the_new_key() -> None:
    before = KeyRing({"k1": OLD}).encrypt("geheim", "r", "f")
    rotated = KeyRing({"k2": NEW, "k1": OLD})
    assert rotated.decrypt(before, "r", "f") == "geheim"
    assert rotated.encrypt("geheim", "r", "f").key_id == "k2"
    with pytest.raises(UndecryptableError, match="'k1', which is not in the key ring"):
        KeyRing({"k2": NEW}).decrypt(before, "r", "f")


def test_keys_are_in_no_text() -> None:
    assert ENCODED not in repr(KeyRing({"k1": OLD}))
    for text in (f"k1{ENCODED}", f"k1:{ENCODED[:-4]}", f":{ENCODED}"):
        with pytest.raises(SettingsError) as error:
            parse_keys(text, "here")
        assert ENCODED[:10] not in str(error.value)


def test_keys_are_parted_by_commas_or_lines_and_comments_are_left_out() -> None:
    text = f"# newest first\nk2:{base64.b64encode(NEW).decode()}\n\nk1:{ENCODED},"
    assert list(parse_keys(text, "here")) == ["k2", "k1"]
    with pytest.raises(SettingsError, match="holds no key"):
        parse_keys("\n#\n", "here")


def test_a_missing_file_is_made_only_where_that_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "state" / "secret.keys"
    with pytest.raises(SettingsError, match="set TOCSIN_SECRET_KEYS"):
        load_key_ring(None, file, create=False)
    made = load_key_ring(None, file, create=True)
    assert file.stat().st_mode & 0o777 == 0o600
    ciphertext = made.encrypt("x", "r", "f")
    assert load_key_ring(None, file, create=True).decrypt(ciphertext, "r", "f") == "x"
    assert [path.name for path in file.parent.iterdir()] == ["secret.keys"]


def test_processes_that_start_at_once_agree_on_one_file(tmp_path: Path) -> None:
    file = tmp_path / "secret.keys"
    load_key_ring(None, file, create=True)
    before = file.read_text()
    threads = [threading.Thread(target=load_key_ring, args=(None, file), kwargs={"create": True}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() == before


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_others_may_read_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret.keys"
    file.write_text(f"k1:{ENCODED}\n")
    os.chmod(file, mode)
    with pytest.raises(SettingsError, match=f"mode {mode:04o}.*run: chmod 600"):
        load_key_ring(None, file, create=False)


def test_the_setting_wins_over_the_file(tmp_path: Path) -> None:
    ring = load_key_ring(f"k9:{ENCODED}", tmp_path / "absent", create=False)
    assert ring.encrypt("x", "r", "f").key_id == "k9"
