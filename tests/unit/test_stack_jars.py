"""Jars are fetched once, checked always, and never trusted half-finished."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tocsin.deploy.stack import StackError
from tocsin.deploy.stack.jars import Jar, kafka_jars, kafka_version, read_sums

CONTENT = {"kafka_2.13-4.4.0.jar": b"broker", "slf4j-api-1.7.36.jar": b"logging"}


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums"
    kafka, slf4j = (hashlib.sha256(content).hexdigest() for content in CONTENT.values())
    path.write_text(
        "# a comment\n"
        f"{kafka}  kafka_2.13-4.4.0.jar  org.apache.kafka:kafka_2.13:4.4.0\n"
        f"{slf4j}  slf4j-api-1.7.36.jar  org.slf4j:slf4j-api:1.7.36\n"
    )
    return path


class Fetcher:
    """Writes what it was told to; remembers what it was asked for."""

    __name__ = "fetcher"

    def __init__(self, content: dict[str, bytes], error: Exception | None = None, seconds: float = 0.0) -> None:
        self.content, self.error, self.seconds = content, error, seconds
        self.asked: list[list[str]] = []

    def __call__(self, jars: Sequence[Jar], target: Path) -> None:
        self.asked.append([jar.name for jar in jars])
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        for jar in jars:
            if jar.name in self.content:
                (target / jar.name).write_bytes(self.content[jar.name])


def test_the_list_in_the_repository_is_complete_and_well_formed() -> None:
    jars = read_sums()
    assert kafka_version(jars) == "4.4.0"
    assert len(jars) == 45
    for jar in jars:
        _group, artifact, version = jar.coordinate.split(":")
        assert jar.name == f"{artifact}-{version}.jar"
        assert len(bytes.fromhex(jar.sha256)) == 32


def test_jars_are_fetched_once_and_then_found(sums: Path, tmp_path: Path) -> None:
    fetcher = Fetcher(CONTENT)
    said: list[str] = []
    folder = kafka_jars(said.append, sums=sums, cache=tmp_path / "cache", fetchers=[fetcher])
    assert folder == tmp_path / "cache" / "kafka-4.4.0"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert said[0] == "Kafka: fetching 2 jars with fetcher ..."
    kafka_jars(sums=sums, cache=tmp_path / "cache", fetchers=[fetcher])
    assert len(fetcher.asked) == 1


def test_a_damaged_jar_in_the_cache_is_fetched_again_alone(sums: Path, tmp_path: Path) -> None:
    fetcher = Fetcher(CONTENT)
    folder = kafka_jars(sums=sums, cache=tmp_path, fetchers=[fetcher])
    (folder / "slf4j-api-1.7.36.jar").write_bytes(b"logg")
    kafka_jars(sums=sums, cache=tmp_path, fetchers=[fetcher])
    assert fetcher.asked[1:] == [["slf4j-api-1.7.36.jar"]]
    assert (folder / "slf4j-api-1.7.36.jar").read_bytes() == b"logging"


def test_a_wrong_sum_names_the_jar_and_keeps_nothing(sums: Path, tmp_path: Path) -> None:
    fetcher = Fetcher({**CONTENT, "slf4j-api-1.7.36.jar": b"evil"})
    with pytest.raises(StackError, match=r"slf4j-api-1\.7\.36\.jar \(org\.slf4j:slf4j-api:1\.7\.36\).*SHA-256"):
        kafka_jars(sums=sums, cache=tmp_path / "cache", fetchers=[fetcher])
    assert list((tmp_path / "cache").rglob("*.jar")) == []


def test_a_jar_that_did_not_come_is_named(sums: Path, tmp_path: Path) -> None:
    fetcher = Fetcher({"kafka_2.13-4.4.0.jar": b"broker"})
    with pytest.raises(StackError, match=r"slf4j-api-1\.7\.36\.jar .* did not come"):
        kafka_jars(sums=sums, cache=tmp_path / "cache", fetchers=[fetcher])


def test_the_next_way_is_tried_when_one_fails_and_all_reasons_are_told(sums: Path, tmp_path: Path) -> None:
    broken, working = Fetcher({}, error=RuntimeError("no route")), Fetcher(CONTENT)
    with pytest.raises(StackError, match=r"network.*fetcher: no route; fetcher: no route"):
        kafka_jars(sums=sums, cache=tmp_path / "cache", fetchers=[broken, broken])
    assert kafka_jars(sums=sums, cache=tmp_path / "cache", fetchers=[broken, working]).is_dir()


def test_two_that_want_the_jars_at_once_fetch_them_once(sums: Path, tmp_path: Path) -> None:
    fetcher = Fetcher(CONTENT, seconds=0.2)
    threads = [
        threading.Thread(target=kafka_jars, kwargs={"sums": sums, "cache": tmp_path / "cache", "fetchers": [fetcher]})
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetcher.asked) == 1


def test_what_a_killed_fetch_left_is_removed(sums: Path, tmp_path: Path) -> None:
    left = tmp_path / "cache" / ".kafka-4.4.0-abc"
    left.mkdir(parents=True)
    (left / "kafka_2.13-4.4.0.jar").write_bytes(b"bro")
    kafka_jars(sums=sums, cache=tmp_path / "cache", fetchers=[Fetcher(CONTENT)])
    assert not left.exists()
