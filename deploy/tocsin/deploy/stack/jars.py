"""Fetches Kafka's jars and never trusts one whose SHA-256 sum isn't the one written down beside this file.

The list is complete, so nothing is resolved: the same jars everywhere, whatever Maven would pick today. To follow a new
Kafka, resolve `org.apache.kafka:kafka_2.13` once and write the new sums into the list.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tocsin.deploy.stack.errors import StackError

SUMS_FILE = Path(__file__).with_name("kafka-jars.sha256")
DOWNLOADS_AT_ONCE = 8
MAVEN_PATIENCE_SECONDS = 600.0  # a first Maven run on a slow line fetches its own plugins too

Say = Callable[[str], None]
Fetch = Callable[["Sequence[Jar]", Path], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One file of the broker's class path."""

    sha256: str
    name: str
    coordinate: str  # group:artifact:version

    def is_intact_in(self, folder: Path) -> bool:
        try:
            with open(folder / self.name, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:
            return False


def read_sums(path: Path = SUMS_FILE) -> tuple[Jar, ...]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(Jar(*line.split()) for line in lines if line and not line.startswith("#"))


def kafka_version(jars: Sequence[Jar]) -> str:
    return next(
        jar.coordinate.rpartition(":")[2] for jar in jars if jar.coordinate.startswith("org.apache.kafka:kafka_")
    )


def cache_dir() -> Path:
    """Per user: TOCSIN_CACHE_DIR, else $XDG_CACHE_HOME/tocsin, else ~/.cache/tocsin."""
    if given := os.environ.get("TOCSIN_CACHE_DIR"):
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tocsin"


def kafka_jars(
    say: Say = lambda _: None, *, sums: Path = SUMS_FILE, cache: Path | None = None, fetchers: Sequence[Fetch] = ()
) -> Path:
    """The folder with all jars, each one checked; what is missing or damaged is fetched first.

    Safe when several processes ask at once: one fetches, the others wait for it.
    """
    jars = read_sums(sums)
    version = kafka_version(jars)
    folder = (cache or cache_dir()) / f"kafka-{version}"
    if not _wrong(jars, folder):
        return folder
    with _locked(folder.with_suffix(".lock")):
        wrong = _wrong(jars, folder)  # another process may have been quicker
        if wrong:
            started = time.monotonic()
            _fetch(wrong, folder, say, fetchers or _default_fetchers())
            size = sum((folder / jar.name).stat().st_size for jar in wrong) / 1e6
            say(f"Kafka {version}: {len(wrong)} jars, {size:.0f} MB, in {time.monotonic() - started:.1f} s")
    return folder


def _wrong(jars: Sequence[Jar], folder: Path) -> list[Jar]:
    if not folder.is_dir():
        return list(jars)
    with ThreadPoolExecutor(2) as pool:
        intact = pool.map(lambda jar: jar.is_intact_in(folder), jars)
        return [jar for jar, good in zip(jars, intact, strict=True) if not good]


def _fetch(wrong: Sequence[Jar], folder: Path, say: Say, fetchers: Sequence[Fetch]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.parent.glob(f".{folder.name}-*"):  # of a fetch that was killed: we have the lock
            shutil.rmtree(left_over, ignore_errors=True)
        staging_root = tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise StackError(f"{folder.parent} can't be written ({error.strerror}): set TOCSIN_CACHE_DIR") from None
    staging = Path(staging_root)
    try:
        _try_in_turn(wrong, staging, say, fetchers)
        for jar in wrong:
            os.replace(staging / jar.name, folder / jar.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _try_in_turn(wrong: Sequence[Jar], staging: Path, say: Say, fetchers: Sequence[Fetch]) -> None:
    problems = []
    for fetch in fetchers:
        say(f"Kafka: fetching {len(wrong)} jars with {fetch.__name__} ...")
        try:
            fetch(wrong, staging)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            problems.append(f"{fetch.__name__}: {error}")
            continue
        _check(wrong, staging)
        return
    raise StackError("Kafka's jars can't be fetched; a network is needed this once. " + "; ".join(problems))


def _check(wrong: Sequence[Jar], staging: Path) -> None:
    for jar in wrong:
        if not (staging / jar.name).exists():
            raise StackError(f"{jar.name} ({jar.coordinate}) did not come with the others")
        if not jar.is_intact_in(staging):
            raise StackError(
                f"{jar.name} ({jar.coordinate}) is not what it should be: its SHA-256 sum is wrong; nothing was kept"
            )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115 - closed below, and by the kernel when we die
    except OSError as error:
        raise StackError(f"{path.parent} can't be written ({error.strerror}): set TOCSIN_CACHE_DIR") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _default_fetchers() -> Sequence[Fetch]:
    return [mvn, jgo] if shutil.which("mvn") else [jgo]


def mvn(jars: Sequence[Jar], target: Path) -> None:
    """With Maven: knows the user's mirrors and proxies, and takes from the local Maven repository what is there."""
    pom = target / "pom.xml"
    pom.write_text(_pom(jars), encoding="utf-8")
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={target}", "-Dmdep.overWriteReleases=true"]
    done = subprocess.run(
        ["mvn", "--batch-mode", "--quiet", "--file", pom, *goal],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MAVEN_PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if line.strip()]
        raise RuntimeError(errors[0][:300] if errors else f"exit code {done.returncode}")


def _pom(jars: Sequence[Jar]) -> str:
    """A project of exactly these jars: nothing is resolved beyond the list."""
    alone = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    dependencies = []
    for jar in jars:
        group, artifact, version = jar.coordinate.split(":")
        dependencies.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version>{alone}</dependency>"
        )
    return (
        "<project><modelVersion>4.0.0</modelVersion>"
        "<groupId>tocsin</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{''.join(dependencies)}</dependencies></project>"
    )


def jgo(jars: Sequence[Jar], target: Path) -> None:
    """Without Maven: jgo speaks the repository's protocol in Python. TOCSIN_MAVEN_REPOSITORY names a mirror."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - a second of imports that only a first run needs

    mirror = os.environ.get("TOCSIN_MAVEN_REPOSITORY")
    context = MavenContext(
        repo_cache=target / "repository",
        local_repos=[],
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=60,
    )

    def download(jar: Jar) -> None:
        group, artifact, version = jar.coordinate.split(":")
        os.replace(context.project(group, artifact).at_version(version).artifact().resolve(), target / jar.name)

    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        list(pool.map(download, jars))
