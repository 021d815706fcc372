"""The page on the Cyber Resilience Act has a row for every point, and names nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from lockgate.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "cra.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", PAGE)
PART_ONE = ["(1)", *(f"(2)({letter})" for letter in "abcdefghijklm")]
PART_TWO = [f"({number})" for number in range(1, 9)]


def rows(part: int) -> dict[str, list[str]]:
    section = PAGE.split("## Part ")[part].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| ("
    ]
    return {line[0]: line[1:] for line in cells}


def is_setting(text: str) -> bool:
    return text.partition(".")[0] in Settings.__struct_fields__ and "." in text


@pytest.mark.requirement("O11")
@pytest.mark.parametrize(("part", "points"), [(1, PART_ONE), (2, PART_TWO)])
def test_every_point_of_annex_i_has_a_row_with_a_proof_and_a_duty(part: int, points: list[str]) -> None:
    found = rows(part)
    assert list(found) == points
    for point, cells in found.items():
        assert len(cells) == 4, point
        assert all(cells), point
        assert "`" in cells[2], f"{point} names no setting, command, test or file"


def test_every_setting_that_the_page_names_exists() -> None:
    named = [text for text in CODE if is_setting(text)]
    for text in named:
        section, _, key = text.partition(".")
        assert key in msgspec.structs.asdict(getattr(Settings(), section)), text
    assert len(named) >= 8


def test_every_test_and_file_that_the_page_names_exists() -> None:
    named = [text for text in CODE if text.startswith(("tests/", "requirements/")) or text.endswith(".md")]
    assert [text for text in named if not (ROOT / text).exists()] == []
    assert len(named) >= 20


def test_every_verb_of_make_that_the_page_names_exists() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {text.split()[1] for text in CODE if text.startswith("make ")} <= verbs
