"""The stapled answer: sent while it is good and about the certificate at hand, otherwise nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from lockgate.errors import InvalidSettings
from lockgate.net.staple import Staple
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import generate_key
from lockgate.pki.revocation import Known, make_staple

NOW = 1_790_000_000.0
ISSUING = Authority.create_root(now=NOW).create_issuing(now=NOW)
SERVER = ISSUING.issue_server(["localhost"], generate_key("ec").public_key(), now=NOW)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.ocsp"


def test_the_answer_is_sent_from_its_beginning_until_its_end(path: Path) -> None:
    der = make_staple(ISSUING, SERVER, Known.GOOD, NOW, 3600)
    path.write_bytes(der)
    clock = Clock()
    staple = Staple(path, clock)
    assert staple.answer_for(SERVER.serial_number) == b""
    staple.reload()
    assert staple.answer_for(SERVER.serial_number) == der
    assert staple.answer_for(SERVER.serial_number + 1) == b""
    assert staple.ends_at(SERVER.serial_number) == NOW + 3600
    assert staple.ends_at(SERVER.serial_number + 1) is None
    for now, sent in ((NOW - 1, b""), (NOW + 3599, der), (NOW + 3600, b"")):
        clock.now = now
        assert staple.answer_for(SERVER.serial_number) == sent


def test_without_a_file_nothing_is_stapled(path: Path) -> None:
    for staple in (Staple(None), Staple(path)):
        staple.reload()
        assert staple.answer_for(SERVER.serial_number) == b""


def test_a_file_that_is_gone_is_no_longer_sent(path: Path) -> None:
    path.write_bytes(make_staple(ISSUING, SERVER, Known.GOOD, NOW))
    staple = Staple(path, Clock())
    staple.reload()
    path.unlink()
    staple.reload()
    assert staple.answer_for(SERVER.serial_number) == b""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        b"0" * 20_000,
        ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
    ],
)
def test_what_is_no_answer_is_refused_and_named(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"server\.ocsp holds no OCSP answer"):
        Staple(path).reload()


def test_an_answer_without_an_end_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(make_staple(ISSUING, SERVER, Known.GOOD, NOW))

    class Endless:
        next_update_utc = None

    monkeypatch.setattr(ocsp, "load_der_ocsp_response", lambda _der: Endless())
    with pytest.raises(InvalidSettings, match="until when"):
        Staple(path).reload()


def test_a_file_that_cannot_be_read_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(InvalidSettings, match=r"server\.ocsp cannot be read"):
        Staple(path).reload()
