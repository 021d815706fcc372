"""Whom the judge of chains believes, with certificates made fresh."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.net.chains import ChainJudge
from lockgate.net.failures import REVOKED
from tests.support.certificates import Authority, Issued

ROOT = Authority("Root")
ISSUING = Authority("Issuing", ROOT)


def _shown(issued: Issued, *between: x509.Certificate) -> list[bytes]:
    return [each.public_bytes(Encoding.DER) for each in (issued.certificate, *between)]


def _error(judge: ChainJudge, shown: list[bytes], now: float | None = None) -> int:
    _, verdict = judge.judge(shown, time.time() if now is None else now)
    return 0 if verdict is None else verdict.error_number


def test_good_chain_is_believed_and_gives_the_clients_own_certificate() -> None:
    device = ISSUING.issue("sensor")
    judge = ChainJudge([ROOT.certificate], [])
    for _ in range(2):  # the second time from memory
        assert judge.judge(_shown(device, ISSUING.certificate), time.time()) == (device.certificate, None)


def test_issuing_ca_is_an_anchor_without_its_root() -> None:
    assert _error(ChainJudge([ISSUING.certificate], []), _shown(ISSUING.issue("sensor"))) == 0


def test_chain_with_a_link_missing_is_not_believed() -> None:
    assert _error(ChainJudge([ROOT.certificate], []), _shown(ISSUING.issue("sensor"))) in (2, 20, 21)


def test_servers_certificate_is_none_of_a_client() -> None:
    assert _error(ChainJudge([ROOT.certificate], []), _shown(ROOT.issue("sensor", purpose="server"))) == 26


def test_what_was_good_is_judged_anew_when_its_time_is_over() -> None:
    judge = ChainJudge([ROOT.certificate], [])
    now = datetime.now(UTC)
    expired = ROOT.issue("sensor", valid_from=now - timedelta(2), valid_until=now - timedelta(1))
    assert _error(judge, _shown(expired)) == 10
    good = ROOT.issue("sensor", valid_until=now + timedelta(1))
    assert _error(judge, _shown(good)) == 0
    assert judge.knows == 1
    later = (now + timedelta(2)).timestamp()
    assert _error(judge, _shown(good), later) == 0  # OpenSSL's clock, which knows no other time, was asked again
    assert judge.judged == 3


def test_list_refuses_whom_it_names_and_nobody_else() -> None:
    revoked, other = ROOT.issue("sensor"), ROOT.issue("sensor")
    judge = ChainJudge([ROOT.certificate], [x509.load_pem_x509_crl(ROOT.crl(revoked.certificate))])
    certificate, verdict = judge.judge(_shown(revoked), time.time())
    assert verdict is not None
    assert (verdict.error_number, verdict.certificate, certificate) == (REVOKED, revoked.certificate, certificate)
    assert _error(judge, _shown(other)) == 0
    foreign = Authority("Other")
    foreign_list = x509.load_pem_x509_crl(foreign.crl(other.certificate))
    assert _error(ChainJudge([ROOT.certificate], [foreign_list]), _shown(other)) == 0


def test_what_is_no_certificate_is_refused() -> None:
    judge = ChainJudge([ROOT.certificate], [])
    assert judge.judge([b"none"], time.time())[0] is None
    assert _error(judge, [b"none"]) == 1
    assert _error(judge, [*_shown(ROOT.issue("sensor")), b"none"]) == 1


def test_chain_that_is_too_long_is_refused_unread() -> None:
    assert _error(ChainJudge([ROOT.certificate], []), _shown(ROOT.issue("sensor")) + [b"none"] * 5) == 22


def test_only_so_many_chains_are_remembered() -> None:
    judge = ChainJudge([ROOT.certificate], [], max_known=2)
    for _ in range(3):
        assert _error(judge, _shown(ROOT.issue("sensor"))) == 0
    assert judge.knows == 2
