"""The tree of a home: what is issued by whom, in which state, without any key."""

from __future__ import annotations

import pytest

from lockgate.ca.desk import Desk
from lockgate.ca.rotation import read_root, rotate_issuing, trust_foreign
from lockgate.ca.tree import facts_of
from lockgate.home import Home
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_to_pem, generate_key
from tests.support.registry import NOW


@pytest.mark.requirement("F13")
def test_the_tree_tells_of_all_issuers_and_counts_what_devices_hold(home: Home, desk: Desk) -> None:
    for name in ("one", "two"):
        desk.issue_device(name, generate_key("ec").public_key(), now=NOW)
    desk.issue_device("brief", generate_key("ec").public_key(), now=NOW, life_seconds=10)
    new_desk = rotate_issuing(desk, read_root(home), NOW)
    trust_foreign(new_desk, Authority.create_root("Plant CA", now=NOW).certificate_pem(), None, NOW)
    for path in home.path.glob("ca/**/*.key"):
        path.unlink()
    facts = facts_of(home, desk.registry, NOW + 100)
    assert len(facts.roots) == 1
    assert not facts.is_root_key_here
    assert [each.state for each in facts.issuers] == ["issuing", "older", "foreign"]
    issuing, older, foreign = facts.issuers
    assert issuing.id == new_desk.issuing.thumbprint
    assert issuing.server is not None
    assert issuing.server.names == ("hub.example", "127.0.0.1")
    assert older.server is None
    assert older.devices == {"valid": 2, "expired": 1, "revoked": 0}
    assert (older.list_number, issuing.list_number, foreign.list_number) == (2, 2, None)
    assert foreign.certificate.name == "CN=Plant CA"
    assert facts.foreign_server is None


def test_a_server_certificate_of_another_ca_stands_by_itself(home: Home, desk: Desk) -> None:
    other = Authority.create_root("Public CA", now=NOW)
    leaf = other.issue_server(["hub.example"], generate_key("ec").public_key(), now=NOW)
    home.server_path.write_bytes(certificates_to_pem(leaf))
    facts = facts_of(home, desk.registry, NOW)
    assert facts.is_root_key_here
    assert facts.foreign_server is not None
    assert facts.foreign_server.names == ("hub.example",)
    assert facts.issuers[0].server is None
