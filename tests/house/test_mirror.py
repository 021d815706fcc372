"""The tests mirror the source: src/lockgate/a/b.py is tested by tests/unit/a/test_b.py, and by no other name."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lockgate"
UNIT = ROOT / "tests" / "unit"

# Rooms whose work is sockets, processes or a terminal; each is tested where those are.
ELSEWHERE = {
    "adapters/coap/server.py": "playbook/test_coap_door.py",
    "api/hatch.py": "interop/test_coap_http.py",
    "adapters/mqtt/sender.py": "playbook/test_mqtt_publish.py",
    "adapters/mqtt/server.py": "playbook/test_mqtt_connect.py",
    "hub/ports.py": "unit/hub/test_session.py",
    "cli/demo/__init__.py": "interop/test_demo.py",
    "cli/demo/eavesdrop.py": "interop/test_demo.py",
    "cli/demo/scene.py": "interop/test_demo.py",
    "cli/demo/screen.py": "interop/test_demo.py",
    "cli/demo/stage.py": "interop/test_demo.py",
    "office.py": "interop/test_office.py",
    "supervision.py": "interop/test_office.py",
    "net/probe.py": "interop/test_scan.py",
    "scan/prober.py": "interop/test_scan.py",
    "net/datagrams.py": "interop/test_datagrams.py",
    "net/dtls.py": "interop/test_dtls.py",
    "net/dtls_listener.py": "interop/test_dtls.py",
    "net/dtls_port.py": "interop/test_dtls.py",
    "net/gnutls.py": "interop/test_dtls.py",
    "net/udp.py": "interop/test_datagrams.py",
    "net/local.py": "interop/test_coap_http.py",
    "net/link.py": "interop/test_listener.py",
    "net/listener.py": "interop/test_listener.py",
    "net/streams.py": "interop/test_listener.py",
    "net/wires.py": "interop/test_wires.py",
}


def has_logic(path: Path) -> bool:
    """Say whether a module does anything: a function with more in it than words about what others shall do."""
    functions = (
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(not _is_empty(statement) for function in functions for statement in function.body)


def _is_empty(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def mirror(module: Path) -> Path:
    """Give the path at which a module's test stands."""
    inside = module.relative_to(SOURCE)
    if inside.parts[:2] == ("scan", "checks"):  # a check is a record and one function: those of a folder go together
        return UNIT / inside.parent / "test___init__.py"
    return UNIT / inside.parent / f"test_{inside.name}"


MODULES = sorted(SOURCE.rglob("*.py"))


def test_every_module_that_does_something_has_its_test_at_the_mirror_path() -> None:
    bare = [
        str(module.relative_to(SOURCE))
        for module in MODULES
        if has_logic(module) and str(module.relative_to(SOURCE)) not in ELSEWHERE and not mirror(module).exists()
    ]
    assert bare == []
    assert len(MODULES) > 50


def test_every_unit_test_has_the_module_that_it_is_named_for() -> None:
    known = {mirror(module) for module in MODULES}
    assert sorted(str(path.relative_to(UNIT)) for path in UNIT.rglob("test_*.py") if path not in known) == []


def test_the_exceptions_exist_and_are_tested_where_the_list_says() -> None:
    for module, test in ELSEWHERE.items():
        assert (SOURCE / module).exists(), module
        assert (ROOT / "tests" / test).exists(), test
        assert not mirror(SOURCE / module).exists(), f"{module} has its unit test: take it off the list"
