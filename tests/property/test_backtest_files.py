"""Files read as columns give what reading them line by line gives: the same readings, the same flaws, in order."""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from pathlib import Path
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tocsin.console.trial.files import read_blocks
from tocsin.evaluator.detector.columns import Known
from tocsin.evaluator.detector.names import Names
from tocsin.ingest.core.recordings import Columns, Flaw, TimeUnit
from tocsin.ingest.files import read
from tocsin.shared.errors import UsageError

TIMES = [
    "2026-01-01T00:00:00Z", "2026-01-01 00:00:01", "2026-01-01T00:00:02.5Z", "2026-01-01T00:00:02.123456789+02:00",
    "2026-01-01", "2026-01-01 10:00", "2026-02-30T00:00:00Z", "1970-01-01T00:30:00+02:00", "2016-12-31T23:59:60Z",
    "2016-12-31T23:59:60.9Z", "1764064800123", "-5", "007", "+5", "99999999999999999", "2026-01-01T00:00Z", "soon",
    "", " 2026-01-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00z", "2026-01-01t00:00:00Z",
    "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "12.5",
]  # fmt: skip
VALUES = ["1", "2.5", "-3e2", ".5", "5.", "", " ", "nan", "inf", "true", "1e999", "0x10", " 7 ", "+1", "1_0", "zwölf"]
NAMES = ["A", "B", "", "x" * 300, "Ä ö", "a b", " ", "c\u200b"]
CELL = st.one_of(st.sampled_from(TIMES), st.sampled_from(VALUES), st.sampled_from(NAMES))
ROW = st.one_of(
    st.tuples(st.sampled_from(TIMES), st.sampled_from(NAMES), st.just("m"), st.sampled_from(VALUES)),
    st.tuples(st.sampled_from(TIMES[:3]), st.just("A"), st.just("m"), st.just("1")),
    st.lists(CELL, min_size=0, max_size=6).map(tuple),
)
LINE = st.one_of(
    ROW.map(",".join),
    st.sampled_from(['2026-01-01,"A,B",m,1', '2026-01-01,"A', '"', "2026-01-01,A,m,1\r", ",,,", "a\tb"]),
)
HEADERS = ["time,system,metric,value", "time,system,metric,value,instance", "value,metric,system,time", "Time,System"]


def columns_of(path: Path, how: Columns, block_bytes: int) -> tuple[list[Any], list[Any]]:
    known = Known(Names(), Names(), Names())
    flaws: list[Flaw] = []
    found: list[Any] = []
    try:
        for block in read_blocks(path, how, known, lambda _, flaw: flaws.append(flaw), block_bytes):
            for row in range(len(block)):
                instance = int(block.instance[row])
                found.append(
                    (
                        known.systems.names[int(block.system[row])],
                        known.metrics.names[int(block.metric[row])],
                        None if instance < 0 else known.instances.names[instance],
                        float(block.value[row]),
                        int(block.time[row]),
                        dict(block.tags[row][1]) if row in block.tags else {},
                    )
                )
    except Exception as error:  # noqa: BLE001  compared with what the other way raises
        found.append((type(error), str(error)))
    return found, sorted(map(_flaw, flaws))


def one_by_one(path: Path, how: Columns) -> tuple[list[Any], list[Any]]:
    found: list[Any] = []
    flaws: list[Flaw] = []
    try:
        for one in read(path, how):
            if isinstance(one, Flaw):
                flaws.append(one)
                continue
            for number, good in enumerate(one.good):
                tags = dict(good.tags or {}) if number == 0 else {}
                found.append((good.system, good.metric, good.instance, good.value, good.time, tags))
    except Exception as error:  # noqa: BLE001  compared with what the other way raises
        found.append((type(error), str(error)))
    return found, sorted(map(_flaw, flaws))


def _flaw(flaw: Flaw) -> tuple[int, str]:
    return flaw.line, str(flaw)


@given(
    st.sampled_from(HEADERS),
    st.lists(LINE, max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from(["ms", "s"]),
    st.sampled_from([1, 40, 10_000]),
)
@example(HEADERS[0], ["2026-01-01T00:00:00Z,A,m,1", "", '2026-01-01,"A\nB",m,1', "x,A,m,2"], "\n", True, "ms", 10)
@example(HEADERS[0], ["2026-01-01T00:00:00Z,A,m,1"], "\r", True, "ms", 10_000)
@settings(max_examples=300, deadline=None)
def test_csv(header: str, lines: list[str], newline: str, ends: bool, unit: TimeUnit, block_bytes: int) -> None:
    text = newline.join([header, *lines]) + newline * ends
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "readings.csv"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        for how in (Columns(time_unit=unit), Columns(system="{file}", metric="m", time_unit=unit)):
            assert columns_of(path, how, block_bytes) == one_by_one(path, how)


READING = st.fixed_dictionaries(
    {
        "system": st.sampled_from(["A", "B", "", 'q"', 3]),
        "metric": st.just("m"),
        "value": st.sampled_from([1, 2.5, True, "x", None, 1e400]),
        "time": st.sampled_from([1764064800123, "2026-01-01T00:00:00Z", "soon", -1]),
    },
    optional={"instance": st.sampled_from(["i", ""]), "tags": st.just({"site": "Berlin"})},
)
REPORT = st.fixed_dictionaries(
    {
        "system": st.sampled_from(["A", "B"]),
        "time": st.just(1764064800000),
        "readings": st.lists(READING.map(lambda one: {k: v for k, v in one.items() if k != "system"}), max_size=3),
    },
    optional={"tags": st.just({"site": "Berlin"})},
)


NDJSON_LINE = st.one_of(READING.map(json.dumps), REPORT.map(json.dumps), st.sampled_from(["", "{", "[1]"]))


@given(
    st.lists(NDJSON_LINE, max_size=12),
    st.sampled_from([1, 40, 10_000]),
)
@settings(max_examples=200, deadline=None)
def test_ndjson(lines: list[str], block_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "readings.ndjson"
        path.write_text('{"system": "A", "metric": "m", "value": 1, "time": 0}\n' + "\n".join(lines))
        assert columns_of(path, Columns(), block_bytes) == one_by_one(path, Columns())


PACKED = gzip.compress((HEADERS[0] + "\n" + "2026-01-01T00:00:00Z,A,m,1\n" * 50).encode())


def unpacks(data: bytes) -> bool:
    try:
        return gzip.decompress(data) == gzip.decompress(PACKED)
    except (OSError, EOFError, zlib.error):
        return False


@given(st.integers(10, len(PACKED) - 1), st.integers(1, 255), st.booleans())
@example(15, 255, False)
@example(69, 8, False)
def test_a_packed_file_that_is_cut_or_damaged_is_refused_by_name(at: int, flipped: int, cut: bool) -> None:
    """The first ten bytes are the header, in which there are some that nobody reads; the last bits of the data, too."""
    damaged = PACKED[:at] if cut else PACKED[:at] + bytes([PACKED[at] ^ flipped]) + PACKED[at + 1 :]
    assume(not unpacks(damaged))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "readings.csv.gz"
        path.write_bytes(damaged)
        for found, _ in (columns_of(path, Columns(), 10_000), one_by_one(path, Columns())):
            kind, message = found[-1]
            assert kind is UsageError
            assert message.startswith(f"{path}: cannot be read: ")
