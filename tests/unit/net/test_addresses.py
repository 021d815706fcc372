"""Names and addresses of this machine."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from lockgate.net.addresses import _ipv6_addresses, host_names, machine_addresses


@pytest.mark.parametrize(
    ("host_name", "names"),
    [
        ("raspberrypi", ("raspberrypi", "raspberrypi.local", "localhost")),
        ("Hub.Example.NET", ("hub.example.net", "hub", "hub.local", "localhost")),
        ("hub.local", ("hub.local", "hub", "localhost")),
        ("localhost.localdomain", ("localhost",)),
        ("not_a_host name", ("localhost",)),
        ("", ("localhost",)),
    ],
)
def test_host_name_gives_the_names_that_devices_may_use(host_name: str, names: tuple[str, ...]) -> None:
    assert host_names(host_name) == names


def test_machine_has_loopback_last_and_only_usable_addresses() -> None:
    found = machine_addresses()
    addresses = [ipaddress.ip_address(each) for each in found.addresses]
    assert found.addresses[-2:] == ("127.0.0.1", "::1")
    assert not any(each.is_link_local and each.version == 6 for each in addresses)
    assert len(set(addresses)) == len(addresses)
    assert set(found.reachable) == {str(each) for each in addresses if not each.is_loopback}


def test_ipv6_table_is_read_without_link_local_temporary_and_failed_addresses(tmp_path: Path) -> None:
    table = tmp_path / "if_inet6"
    table.write_text(
        "20010db8000000000000000000000001 02 40 00 80     eth0\n"
        "20010db8000000000000000000000002 02 40 00 01     eth0\n"
        "20010db8000000000000000000000003 02 40 00 48     eth0\n"
        "fe800000000000000000000000000001 02 40 20 80     eth0\n"
    )
    assert [str(each) for each in _ipv6_addresses(table)] == ["2001:db8::1"]
    assert _ipv6_addresses(tmp_path / "missing") == []
