"""`lockgate device enrol` and `renew`: what they ask for, and what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lockgate.client import enrolment
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_to_pem, generate_key, private_key_to_pem
from lockgate.provision.bundle import make_enrolled_bundle
from lockgate.provision.folder import HubAddress
from tests.support.cli import CommandLine

NOW = datetime.now(UTC).timestamp()
ROOT = Authority.create_root(now=NOW)
KEY = generate_key("ec")
LEAF = ROOT.issue_device("sensor", KEY.public_key(), now=NOW)
HUB = ("--hub", "https://hub:8443")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Note what the device's side is asked to do."""
    asked: list[tuple[Any, ...]] = []

    def enrol(url: str, name: str, token: str, root: bytes, out: Path, mqtt_port: int | None) -> x509.Certificate:
        asked.append((url, name, token, root, mqtt_port))
        hub, pems = HubAddress("hub", 8883), (private_key_to_pem(KEY), certificates_to_pem(LEAF))
        make_enrolled_bundle(name, out, hub, root, *pems, url)
        return LEAF

    monkeypatch.setattr(enrolment, "enrol", enrol)
    monkeypatch.setattr(enrolment, "fetch_root", lambda _url, text: ROOT.certificate_pem() + text.encode())

    def renew(*arguments: object) -> x509.Certificate:
        asked.append(arguments)
        return LEAF

    monkeypatch.setattr(enrolment, "renew", renew)
    monkeypatch.delenv("LOCKGATE_CLAIM", raising=False)
    return asked


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root.crt"
    path.write_bytes(ROOT.certificate_pem())
    return path


def test_it_enrols_and_says_how_to_speak(
    bare: CommandLine, asked: list[Any], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKGATE_CLAIM", "token")
    out = bare.does("device", "enrol", "sensor", *HUB, "--ca", root, "--out", bare.folder / "out").out
    assert asked == [("https://hub:8443", "sensor", "token", ROOT.certificate_pem(), None)]
    assert "enrolled sensor, until " in out
    assert "mosquitto_pub -h hub -p 8883" in out
    assert "token" not in out


def test_as_json(bare: CommandLine, asked: list[Any], tmp_path: Path) -> None:
    (tmp_path / "claim").write_text("from-file\n")
    options = ("--claim-file", tmp_path / "claim", "--ca-sha256", "aa", "--mqtt-port", "1", "--json")
    facts = bare.does("device", "enrol", "sensor", *HUB, *options, "--out", bare.folder / "out").json()
    assert (asked[0][2], asked[0][4], facts["device"]) == ("from-file", 1, "sensor")
    assert asked[0][3].endswith(b"aa")


def test_what_is_missing_is_asked_for(bare: CommandLine, asked: list[Any], root: Path, tmp_path: Path) -> None:
    base = ("device", "enrol", "sensor", *HUB, "--out", bare.folder / "out")
    bare.misused(*base, "--claim", "x")
    bare.misused(*base, "--claim", "x", "--ca", root, "--ca-sha256", "aa")
    bare.misused(*base, "--ca", root)
    bare.refuses(*base, "--ca", root, "--claim-file", tmp_path / "none")
    assert asked == []


def test_renewing(bare: CommandLine, asked: list[Any], root: Path) -> None:
    folder = bare.folder / "out"
    bare.does("device", "enrol", "sensor", *HUB, "--ca", root, "--claim", "x", "--out", folder)
    asked.clear()
    assert "not due yet" in bare.does("device", "renew", folder, "--if-due").out
    assert bare.does("device", "renew", folder, "--if-due", "--json").json()["renewed"] is False
    assert asked == []
    assert "renewed sensor" in bare.does("device", "renew", folder).out
    assert bare.does("device", "renew", folder, "--keep-key", "--json", *HUB).json()["renewed"] is True
    assert asked == [(folder, None, False), (folder, "https://hub:8443", True)]
