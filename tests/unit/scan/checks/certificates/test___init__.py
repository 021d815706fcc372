"""Certificates: expired, near their end, of another key, name, CA or time; each really made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lockgate.ca.desk import Desk
from lockgate.home import write_private
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import generate_key, private_key_to_pem
from lockgate.scan.finding import Severity
from lockgate.scan.subject import Identity
from tests.support.certificates import Authority as AnyAuthority
from tests.support.scan import Examined

DAY = 86_400.0
YEAR = 365 * DAY


def serve(home: Examined, *, begins: float = 0.0, life: float = 2 * YEAR, authority: Authority | None = None) -> None:
    """Put another server certificate in place."""
    key = generate_key("ec")
    issuer = authority or home.home.authority()
    names = home.home.server_names()
    certificate = issuer.issue_server(names, key.public_key(), now=time.time() + begins, life_seconds=life)
    write_private(home.home.server_key_path, private_key_to_pem(key))
    write_private(home.home.server_path, issuer.chain_pem(certificate))


def test_an_expired_certificate_is_severe(home: Examined) -> None:
    serve(home, begins=-10 * DAY, life=9 * DAY)
    found = home.sees_only("LG-CERT-001")
    assert found.severity is Severity.SEVERE
    home.mends(found)


def test_a_certificate_of_the_future_is_severe(home: Examined) -> None:
    serve(home, begins=10 * DAY)
    home.mends(home.sees_only("LG-CERT-001"))


def test_a_certificate_near_its_end_is_seen(home: Examined) -> None:
    serve(home, life=20 * DAY)
    home.mends(home.sees_only("LG-CERT-002"))


@pytest.mark.parametrize("content", [private_key_to_pem(generate_key("ec")), b"no key"])
def test_a_key_of_another_pair_is_severe(home: Examined, content: bytes) -> None:
    write_private(home.home.server_key_path, content)
    home.mends(home.sees_only("LG-CERT-003"))


def test_a_certificate_for_loopback_alone_is_seen(home: Examined) -> None:
    home.lockgate.does("server-cert", "renew", "--name", "localhost", "--name", "127.0.0.1", "--name", "::1")
    found = home.sees_only("LG-CERT-004")
    home.lockgate.does(*found.fix.split()[1:])
    assert home.find("LG-CERT-004") == []


def test_a_name_of_the_machine_that_lacks_is_noted(home: Examined) -> None:
    machine = home.report().findings
    found = [f for f in machine if f.check == "LG-CERT-005"]
    assert len(found) == 1
    assert found[0].severity is Severity.INFO
    home.mends(found[0])


def test_a_weak_server_key_is_severe(home: Examined) -> None:
    key = rsa.generate_private_key(65_537, 1024)
    any_key = cast("ec.EllipticCurvePrivateKey", key)  # the tests' authority signs what the hub's would not
    made = AnyAuthority.from_home(home.path).issue("hub", names=["hub.example"], purpose="server", key=any_key)
    write_private(home.home.server_path, made.certificate_pem)
    write_private(home.home.server_key_path, private_key_to_pem(key))
    found = home.sees_only("LG-CERT-006")
    assert "1024" in found.text
    home.mends(found)


def test_a_certificate_of_another_ca_is_seen(home: Examined) -> None:
    other = Authority.create_root("other", now=time.time()).create_issuing("other issuing", now=time.time())
    serve(home, authority=other)
    home.mends(home.sees_only("LG-CERT-007"))


def test_a_chain_without_the_issuing_ca_is_seen(home: Examined) -> None:
    pem = home.home.server_path.read_bytes()
    end = b"-----END CERTIFICATE-----\n"
    write_private(home.home.server_path, pem[: pem.index(end) + len(end)])
    home.mends(home.sees_only("LG-CERT-007"))


def authorities(home: Examined, begins: float, life: float) -> dict[str, Identity]:
    now = time.time() + begins
    root = Authority.create_root("root", now=now, life_seconds=life)
    issuing = root.create_issuing("issuing", now=now, life_seconds=life)
    key = generate_key("ec")
    leaf = issuing.issue_server(["hub.example"], key.public_key(), now=now, life_seconds=min(life, YEAR))
    chain = (leaf, issuing.certificate)
    return {
        "root": Identity(str(home.home.root_path), (root.certificate,)),
        "issuing": Identity(str(home.home.issuing_path), (issuing.certificate,)),
        "server": Identity(str(home.home.server_path), chain, key.public_key()),
    }


def test_an_expired_authority_is_severe(home: Examined) -> None:
    found = home.find("LG-CERT-008", **authorities(home, -20 * DAY, 10 * DAY))
    assert [f.place for f in found] == [str(home.home.issuing_path), str(home.home.root_path)]
    assert found[0].severity is Severity.SEVERE
    assert home.find("LG-CERT-008") == []


def test_an_authority_near_its_end_is_seen(home: Examined) -> None:
    assert len(home.find("LG-CERT-009", **authorities(home, 0, 100 * DAY))) == 2
    assert home.find("LG-CERT-009") == []


def test_the_issuing_ca_is_rotated_when_its_time_is_near(home: Examined) -> None:
    root = Authority.from_pem(home.home.root_path.read_bytes(), home.home.root_key_path.read_bytes())
    issuing = root.create_issuing("short", now=time.time(), life_seconds=100 * DAY)
    write_private(home.home.issuing_path, issuing.certificate_pem())
    write_private(home.home.issuing_key_path, issuing.key_pem())
    serve(home)
    home.mends(home.sees_only("LG-CERT-009"))


def test_an_old_revocation_list_is_seen(home: Examined) -> None:
    with home.home.registry() as registry:
        Desk(home.home, registry, "test").publish_crls(time.time() - 30 * DAY, life_seconds=DAY)
    home.mends(home.sees_only("LG-CERT-011"))


def test_foreign_authorities_are_noted(home: Examined, tmp_path: Path) -> None:
    other = Authority.create_root("other maker", now=time.time())
    (tmp_path / "other.pem").write_bytes(other.certificate_pem())
    home.lockgate.does("ca", "trust", tmp_path / "other.pem")
    found = home.sees_only("LG-CERT-012")
    assert "other maker" in found.text
    assert found.severity is Severity.INFO
    (ended,) = home.find("LG-CERT-012", now=time.time() + 30 * YEAR)
    assert ended.severity is Severity.LOW
    home.mends(found)


def test_a_very_long_life_is_noted(home: Examined) -> None:
    serve(home, life=4 * YEAR)
    home.mends(home.sees_only("LG-CERT-010"))


def test_a_certificate_that_cannot_be_read_is_not_passed(home: Examined) -> None:
    home.home.server_path.write_bytes(b"nothing")
    report = home.report("LG-CERT-001")
    assert (report.findings, report.passed) == ((), ())
    assert "expected one or more certificates" in report.unchecked[0].reason
