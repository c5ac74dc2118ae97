"""Every tracked document: what it links to is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
DOCUMENTS = [ROOT / line for line in LISTED.splitlines()] or sorted((ROOT / "docs").rglob("*.md"))

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_OTHER = re.compile(r"[^\w\- ]")


def anchors(document: Path) -> set[str]:
    """As forges make them of headings."""
    headings = _HEADING.findall(_FENCED.sub("", document.read_text()))
    return {_OTHER.sub("", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: str(one.relative_to(ROOT)))
def test_what_a_document_links_to_is_there(document: Path) -> None:
    text = _CODE.sub("", _FENCED.sub("", document.read_text()))
    for target in _LINK.findall(text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(found), f"{found.name} has no heading for #{anchor}"


def test_pictures_are_small_and_all_of_them_are_shown() -> None:
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    tutorial = (ROOT / "docs" / "tutorial.md").read_text()
    assert [one.name for one in pictures if f"(images/{one.name})" not in tutorial] == []
    assert [one.name for one in pictures if one.stat().st_size >= 100_000] == []
