"""The gate hands out a token: only policy makes a Grant, so that nothing enters the topic space without being asked."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "lockgate"


def makers(tree: ast.AST) -> list[int]:
    """Give the lines that make a Grant, or give it another name under which it could be made."""
    lines = []
    for node in ast.walk(tree):
        is_call = isinstance(node, ast.Call) and "Grant" in (
            getattr(node.func, "id", ""),
            getattr(node.func, "attr", ""),
        )
        is_alias = isinstance(node, ast.ImportFrom) and any(n.name == "Grant" and n.asname for n in node.names)
        is_assigned = (
            isinstance(node, ast.Assign) and getattr(node.value, "id", getattr(node.value, "attr", "")) == "Grant"
        )
        is_subclass = isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "Grant" for base in node.bases)
        if is_call or is_alias or is_assigned or is_subclass:
            lines.append(getattr(node, "lineno", 0))
    return lines


def test_only_the_policy_engine_makes_grants() -> None:
    found = {
        str(path.relative_to(SOURCE)) for path in sorted(SOURCE.rglob("*.py")) if makers(ast.parse(path.read_text()))
    }
    assert found == {"policy/engine.py"}


def test_the_search_finds_every_way_of_making_one() -> None:
    for line in (
        "Grant(d, 2, True)",
        "policy.Grant(d, 2, True)",
        "from lockgate.policy import Grant as G",
        "Other = Grant",
        "Other = engine.Grant",
        "class Mine(Grant): pass",
    ):
        assert makers(ast.parse(line)), line
    for line in (
        "isinstance(x, Grant)",
        "Grants(principal)",
        "from lockgate.policy import Grant",
        "x: Grant | None = None",
    ):
        assert not makers(ast.parse(line)), line
