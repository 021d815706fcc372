"""Threat: an object that holds a secret is printed: into a log line, a traceback, a test's failure, a debugger.

What every room keeps of a client that shows its password, a token or a SCRAM proof, rightly and wrongly and in the
wrong field, is printed here, and none of it holds them; nor does what holds a private key or a password's hash.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lockgate.adapters.mqtt.packets import V5, Auth, Connect, Properties
from lockgate.adapters.mqtt.wire import encode
from lockgate.errors import LockgateError
from lockgate.home import Home
from lockgate.identity import Credentials
from lockgate.net.context import TlsContexts
from lockgate.pki.certificates import private_key_from_pem
from tests.attacks.conftest import Target
from tests.support.cli import CommandLine
from tests.support.playbook import Playbook
from tests.support.registry import CHEAP_HASHER, EC_KEY, password, scram
from tests.support.tokens import claims, token

CANARY = "Kanarienvogel-gelb-3141592653589793238462643383279"


def rooms_objects() -> Iterator[object]:
    """Give every object of a class of ours that lives now."""
    for each in gc.get_objects():
        if str(type(each).__module__).startswith("lockgate.") and not isinstance(each, type):
            yield each


def leaks(*secrets: str) -> list[str]:
    """Give the classes whose objects, printed, show one of the secrets."""
    found = []
    for each in rooms_objects():
        with suppress(Exception):  # half-made ones have no fields yet
            text = repr(each)
            if any(secret in text for secret in secrets):
                found.append(type(each).__qualname__)
    return sorted(set(found))


def parts(secret: bytes) -> list[str]:
    """Give what of a secret must not be seen: all of it, and its last half."""
    text = secret.decode("latin-1")
    return [text, text[len(text) // 2 :]]


@pytest.mark.requirement("I3")
def test_a_look_at_an_object_that_leaks_is_seen(target: Target) -> None:
    kept = Leaky()
    assert leaks(CANARY) == ["Leaky"]
    del kept


class Leaky:
    """What must not be."""

    __module__ = "lockgate.leaky"

    def __repr__(self) -> str:
        return f"Leaky({CANARY})"


@pytest.mark.requirement("I3")
def test_what_identity_keeps_of_a_client_shows_no_secret(target: Target) -> None:
    target.registry.add("lamp", password(CANARY))
    target.registry.add("bulb", scram(CANARY))
    good = token(EC_KEY, claims(padding=CANARY))
    kept: list[object] = []
    for client_id, user_name, secret in (
        ("lamp", "lamp", CANARY.encode()), ("lamp", "lamp", CANARY.encode() + b"x"), ("lamp", CANARY, b"x"),
        ("kettle", "kettle", CANARY.encode()), ("sensor", "sensor", good), ("sensor", "sensor", good[:-9]),
        ("sensor", good.decode(), b"x"), ("nobody", "nobody", good),
    ):  # fmt: skip
        shown = Credentials(client_id, user_name, secret)
        kept.append(shown)
        try:
            kept.append(target.identity.authenticate(shown, 1_800_000_000.0))
        except LockgateError as error:
            kept += [error, error.evidence, error.fix, str(error)]
    for method, first in (("jwt", good), ("SCRAM-SHA-256", b"n,,n=bulb,r=" + CANARY.encode())):
        exchange = target.identity.begin(Credentials("sensor" if method == "jwt" else "bulb"), method)
        kept.append(exchange)
        with suppress(LockgateError):
            kept.append(exchange.respond(first, 1_800_000_000.0))
    assert leaks(CANARY, *parts(good)) == []
    for each in kept:
        if not isinstance(each, Credentials) and "Turn" not in type(each).__name__:
            assert CANARY not in repr(each)


@pytest.mark.requirement("I3")
def test_what_the_door_keeps_of_a_client_shows_no_secret() -> None:
    hub = Playbook()
    good = token(EC_KEY, claims(padding=CANARY))
    kept: list[object] = []
    properties = Properties(authentication_method="jwt", authentication_data=good)
    for connect in (
        Connect(V5, "sensor", user_name="sensor", password=CANARY.encode()),
        Connect(V5, "sensor", user_name=CANARY, password=CANARY.encode()),
        Connect(V5, "sensor", user_name=good.decode(), password=good),
        Connect(V5, "sensor", properties=properties),
    ):
        kept += [connect, connect.properties, hub.link(V5).sends(connect)]
    half = encode(Connect(V5, "sensor", user_name="sensor", password=CANARY.encode()), V5)[:-3]
    kept.append(hub.link(V5).sends_bytes(half))
    kept.append(Auth(0x18, properties))
    assert leaks(CANARY, *parts(good)) == []
    assert f"<{len(good)} bytes>" in repr(properties)
    told = [refusal for refusal in hub.refusals() if CANARY in repr(refusal)]
    assert told == []


@pytest.mark.requirement("I3")
def test_who_holds_a_private_key_or_a_hash_shows_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lockgate = CommandLine(tmp_path, monkeypatch, capsys).makes_home()
    home = Home(lockgate.home)
    folder = lockgate.adds("sensor", "x509")
    lockgate.adds("kettle", "password")
    secrets = []
    for path in (home.server_key_path, folder / "device.key", *(lockgate.home / "ca").glob("*.key")):
        pem = path.read_bytes()
        secrets += [line.decode() for line in pem.splitlines()[2:3]]
        numbers = private_key_from_pem(pem).private_numbers()  # type: ignore[union-attr]
        secrets.append(str(getattr(numbers, "private_value", getattr(numbers, "d", None))))
    contexts = TlsContexts(home.server_path, home.server_key_path, home.bundle_path)
    authority = home.authority()
    hashed = password(CANARY)
    assert hashed.public not in repr(hashed)
    assert CHEAP_HASHER.verify(hashed.public, CANARY)
    kept = contexts, authority, home
    assert leaks(*secrets) == []
    assert not any(secret in repr(kept) for secret in secrets)
