"""Results as JUnit XML, as build servers read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from tocsin.console.trial.unit_run import Result


def junit_xml(results: Mapping[str, Sequence[Result]]) -> bytes:
    """One suite a file. `results`: by path."""
    root = Element("testsuites", _counts([one for of_file in results.values() for one in of_file]))
    for path, of_file in results.items():
        suite = SubElement(root, "testsuite", {"name": _clean(path), **_counts(of_file)})
        for one in of_file:
            case = SubElement(suite, "testcase", {"name": _clean(one.name), "classname": _clean(path)})
            if not one.passed:
                failure = SubElement(case, "failure", {"message": "what came is not what was expected"})
                failure.text = _clean("\n".join(one.diff))
    indent(root)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _counts(results: Sequence[Result]) -> dict[str, str]:
    failed = sum(not one.passed for one in results)
    return {"tests": str(len(results)), "failures": str(failed), "errors": "0"}


def _clean(text: str) -> str:
    """XML has no way to write control characters."""
    return "".join(letter if letter == "\n" or letter.isprintable() else "\ufffd" for letter in text)
