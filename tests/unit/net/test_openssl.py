"""One session ticket for each full handshake: told to OpenSSL when it is loaded, and only where nobody else told it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from lockgate.net import openssl

ROOT = Path(__file__).parents[3]
HANDSHAKE = """
import os, ssl, sys
from lockgate.cli import cli
if "ask" in sys.argv:
    cli.get_command(None, "up")
assert os.environ.get("OPENSSL_CONF") == (sys.argv[2] if len(sys.argv) > 2 else None)
from tests.support.certificates import Authority
from tests.support.tls import Pair, client_context, server_context
ca = Authority("Hub CA")
server, client = server_context(ca), client_context(ca, ca.issue("sensor"), version=ssl.TLSVersion.TLSv1_3)
first = Pair(server, client).shake_hands()
again = Pair(server, client, session=first.client.session).shake_hands()
print(len(first.from_server), again.client.session_reused)
"""
"""A client of Python's, and so of another OpenSSL than the hub's."""


def shaken(*arguments: str, configuration: str | None = None) -> tuple[int, bool]:
    """Shake hands in a new process; give how many bytes the server sent, and whether a second handshake resumed."""
    environment = {name: value for name, value in os.environ.items() if name != openssl.VARIABLE}
    if configuration is not None:
        environment[openssl.VARIABLE] = configuration
    command = [sys.executable, "-c", HANDSHAKE, *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    size, is_resumed = done.stdout.split()
    return int(size), is_resumed == "True"


@pytest.mark.skipif(not openssl.brings_its_openssl(), reason="cryptography uses the system's OpenSSL here")
def test_a_server_gives_one_ticket_that_resumes_and_leaves_the_environment_alone(tmp_path: Path) -> None:
    two, _ = shaken("leave")
    one, is_resumed = shaken("ask")
    assert is_resumed
    none = tmp_path / "none.cnf"
    none.write_text(openssl.CONFIGURATION.read_text().replace("NumTickets = 1", "NumTickets = 0"))
    nothing, is_resumed = shaken("ask", str(none), configuration=str(none))  # the administrator's file holds
    assert not is_resumed
    ticket = two - one
    assert ticket > 200
    assert abs(one - nothing - ticket) <= 16  # signatures and what they sign differ in length by a few bytes


def test_an_administrators_configuration_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(openssl.VARIABLE, "/etc/ssl/ours.cnf")
    monkeypatch.delitem(sys.modules, "cryptography.hazmat.bindings._rust", raising=False)
    assert not openssl.give_one_ticket()
    assert os.environ[openssl.VARIABLE] == "/etc/ssl/ours.cnf"


def test_the_systems_openssl_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package, about = tmp_path / "cryptography" / "__init__.py", tmp_path / "cryptography-50.0.dist-info"
    about.mkdir()
    (about / "WHEEL").write_text("Wheel-Version: 1.0\nTag: cp311-abi3-linux_x86_64\n")
    monkeypatch.setattr(openssl, "find_spec", lambda name: ModuleSpec(name, None, origin=str(package)))
    assert not openssl.brings_its_openssl()
    monkeypatch.setattr(openssl, "find_spec", lambda _name: None)
    assert not openssl.brings_its_openssl()
