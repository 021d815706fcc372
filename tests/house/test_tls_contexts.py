"""TLS contexts are made in net/ alone, where their settings are tested; the device's side has its own place, and the
scanner one for offers that no good client makes."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "lockgate"
ALLOWED = {"net/context.py", "client/options.py", "net/probe.py"}
MAKERS = {
    "SSLContext",
    "SSL.Context",
    "Context",
    "create_default_context",
    "_create_unverified_context",
    "wrap_socket",
    "get_server_certificate",
    "tls_set",
    "tls_insecure_set",
    "_create_stdlib_context",
}


def calls(tree: ast.AST) -> set[str]:
    """Give the names of all that is called, but for what belongs to click, whose Context is another thing."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {function.id for function in functions if isinstance(function, ast.Name)}
    reached = {
        function.attr
        for function in functions
        if isinstance(function, ast.Attribute) and getattr(function.value, "id", "") != "click"
    }
    return named | reached


def test_tls_contexts_are_made_in_three_places() -> None:
    found = {
        str(path.relative_to(SOURCE))
        for path in sorted(SOURCE.rglob("*.py"))
        if calls(ast.parse(path.read_text())) & MAKERS
    }
    assert found == ALLOWED


def test_the_search_finds_the_ways_to_make_one() -> None:
    for line in ("ssl.SSLContext(1)", "SSL.Context(x)", "ssl.create_default_context()", "client.tls_set()"):
        assert calls(ast.parse(line)) & MAKERS, line
