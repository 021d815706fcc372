"""`lockgate device add-many`: a table in, registered devices and their folders out."""

from __future__ import annotations

import pytest

from tests.support.cli import CommandLine


@pytest.mark.requirement("I9")
def test_a_table_of_devices_is_registered_and_goes_on_where_it_ended(lockgate: CommandLine) -> None:
    table, out = lockgate.folder / "devices.csv", lockgate.folder / "out"
    table.write_text("name,auth,groups\na1,,g\na2,x509,g\n")
    facts = lockgate.does("device", "add-many", table, "--out", out, "--format", "nvs", "--json").json()
    assert (facts["added"], facts["skipped"]) == (2, 0)
    assert (out / "a1" / "nvs.csv").read_text().startswith("key,type,encoding,value\nlockgate,namespace,,\n")
    assert (out / "a2" / "device.crt").exists()
    assert lockgate.does("group", "show", "g", "--json").json()["devices"] == ["a1", "a2"]
    assert "line 2: there is a device a1 already" in lockgate.refuses("device", "add-many", table, "--out", out)
    table.write_text("name,auth,groups\na1,,g\na2,x509,g\na3,,g\n")
    done = lockgate.does("device", "add-many", table, "--out", out, "--skip-registered").out
    assert "added 1 devices" in done
    assert "2 were registered already" in done
    secret = (out / "a1" / "device.key").read_bytes().splitlines()[1].decode()
    told = done + lockgate.does("device", "show", "a1").out + lockgate.does("credential", "list", "--json").out
    assert secret not in told
