"""A request's body taken apart into the messages in it, each as the bytes it came in."""

from __future__ import annotations

import re

import msgspec

from tocsin.shared.readings import LENIENT_JSON, Reason, Rejection

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")
_split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split_items(body: bytes, *, lines: bool = False) -> list[bytes] | Rejection:
    """The items of an array or of NDJSON, or the one object there is. `lines`: the sender says that it is NDJSON.

    An item may still be anything; the whole is refused only where its items cannot be told apart.
    """
    stripped = body.strip(b" \t\r\n")
    if not stripped:
        return Rejection(None, None, Reason.NO_VALUE, "the body is empty")
    if lines or _looks_like_lines(stripped):
        return [line for line in (line.strip(b" \t\r") for line in stripped.split(b"\n")) if line]
    if stripped.startswith(b"["):
        return _array(stripped)
    return [stripped]


def _looks_like_lines(body: bytes) -> bool:
    """Several lines that each hold an object from brace to brace: no indented object does."""
    if not body.startswith(b"{") or b"\n" not in body:
        return False
    lines = [line.strip(b" \t\r") for line in body.split(b"\n")]
    return all(line.startswith(b"{") and line.endswith(b"}") for line in lines if line)


def _array(body: bytes) -> list[bytes] | Rejection:
    try:
        return [bytes(item) for item in _split_array(body)]
    except (msgspec.DecodeError, RecursionError):
        return _array_with_flaws(body)


def _array_with_flaws(body: bytes) -> list[bytes] | Rejection:
    """As JSON's grammar and NaN allow, so that one NaN does not spoil its neighbours."""
    text = body.decode("utf-8", "surrogateescape")
    items: list[bytes] = []
    at = _after_space(text, 1)
    if text[at : at + 1] == "]":
        return items if at + 1 == len(text) else _not_json(f"something follows the array at character {at + 1}")
    while True:
        try:
            _, end = LENIENT_JSON.raw_decode(text, at)
        except RecursionError:
            if (found := _end_of_nested(text, at)) is None:
                return Rejection(None, None, Reason.TOO_DEEP, "nested too deeply to be read")
            end = found  # its own check says that it is too deep
        except ValueError as error:
            return _not_json(str(error))
        items.append(text[at:end].encode("utf-8", "surrogateescape"))
        at = _after_space(text, end)
        if text[at : at + 1] == "]" and at + 1 == len(text):
            return items
        if text[at : at + 1] != ",":
            return _not_json(f"expected `,` or the end of the array at character {at}")
        at = _after_space(text, at + 1)


def _end_of_nested(text: str, start: int) -> int | None:
    """Behind the object or array that begins there, however deep it is; None: it has no end."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text, start):
        found = match.group()
        if found[0] != '"':
            depth += 1 if found in "[{" else -1
            if not depth:
                return match.end()
    return None


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # it also matches nothing
    return match.end()


def _not_json(detail: str) -> Rejection:
    return Rejection(None, None, Reason.NOT_JSON, f"not JSON: {detail}")
