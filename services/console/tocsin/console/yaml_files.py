"""From paths to drafts: which files are read, and what all of them say together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tocsin.console.drafts import Draft
from tocsin.console.findings import Findings, Place
from tocsin.console.yaml_fields import Fields, Reader, Schema
from tocsin.console.yaml_nodes import MAX_FILE_BYTES, Node, parse_yaml
from tocsin.console.yaml_recipients import Rules, read_recipient
from tocsin.console.yaml_records import read_group, read_notification
from tocsin.console.yaml_sensors import read_sensor
from tocsin.console.yaml_timing import read_schedule, read_silence

SUFFIXES = (".yaml", ".yml")
UNIT_TEST_SUFFIXES = (".test.yaml", ".test.yml")
STDIN = "-"
MAX_RECORDS = 20_000
DOCUMENT = Schema(
    "a configuration file",
    ("sensors", "groups", "schedules", "notifications", "recipients", "silences"),
    ("settings",),
)


def is_unit_tests(path: Path) -> bool:
    """`*.test.yaml`: unit tests of rules stand beside the rules, and are none themselves."""
    return path.name.endswith(UNIT_TEST_SUFFIXES)


def find_files(paths: Iterable[str], findings: Findings) -> list[str]:
    """The files themselves, those of a folder and below in the order of their names; each once."""
    found: dict[Path | str, str] = {}
    for given in paths:
        path = Path(given)
        if given == STDIN:
            found[STDIN] = STDIN
        elif path.is_dir():
            below = sorted(
                file
                for file in path.rglob("*")
                if file.suffix in SUFFIXES
                and not is_unit_tests(file)
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
            if not below:
                findings.add(Place(given), "", "the folder holds no .yaml or .yml file")
            for file in below:
                found.setdefault(file.resolve(), str(file))
        elif path.exists():
            found.setdefault(path.resolve(), given)
        else:
            findings.add(Place(given), "", "there is no such file or folder")
    return list(found.values())


def read_text(file: str, findings: Findings) -> str | None:
    """UTF-8, with or without a byte order mark."""
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with open(file, "rb") as handle:
                data = handle.read(MAX_FILE_BYTES + 1)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        findings.add(Place(file), "", f"not UTF-8: byte {error.start} is not part of a character", "save it as UTF-8")
    except OSError as error:
        findings.add(Place(file), "", f"cannot be read: {error.strerror}")
    return None


def read_files(files: Iterable[str], reader: Reader, rules: Rules) -> list[Draft]:
    """All records of all files; names used twice are findings."""
    drafts: list[Draft] = []
    for file in files:
        text = read_text(file, reader.findings)
        if text is None:
            continue
        for document in parse_yaml(text, "stdin" if file == STDIN else file, reader.findings):
            drafts += read_document(document, reader, rules)
    if len(drafts) > MAX_RECORDS:
        reader.findings.add(drafts[MAX_RECORDS].place, "", f"more than {MAX_RECORDS} records at once", "apply in parts")
    return unique(drafts, reader.findings)


def read_document(node: Node, reader: Reader, rules: Rules) -> list[Draft]:
    """The records of one document."""
    sections: Sequence[tuple[str, Callable[[Node], Draft | None]]] = (
        ("sensors", lambda item: read_sensor(item, reader)),
        ("groups", lambda item: read_group(item, reader)),
        ("schedules", lambda item: read_schedule(item, reader)),
        ("notifications", lambda item: read_notification(item, reader)),
        ("recipients", lambda item: read_recipient(item, reader, rules)),
        ("silences", lambda item: read_silence(item, reader)),
    )
    fields = Fields(node, DOCUMENT, reader)
    found = [read(item) for name, read in sections for _, item in fields.items(name, most=MAX_RECORDS)]
    return [draft for draft in found if draft is not None]


def unique(drafts: list[Draft], findings: Findings) -> list[Draft]:
    """The first of each name; the others are findings."""
    first: dict[tuple[str, str], Draft] = {}
    for draft in drafts:
        known = first.setdefault((draft.kind, draft.folded), draft)
        if known is not draft:
            problem = f"the {draft.kind} {draft.name!r} is already defined at {known.place}"
            findings.add(draft.place, "name", problem, "rename or remove one of them")
    return list(first.values())
