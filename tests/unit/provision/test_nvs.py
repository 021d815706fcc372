"""The CSV for an ESP32's flash: in the form of ESP-IDF's tool, and without any key in it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from lockgate.model.device import CredentialKind
from lockgate.provision.folder import DeviceFile
from lockgate.provision.nvs import MAX_KEY_CHARACTERS, nvs_csv


@pytest.mark.requirement("I9")
def test_the_table_has_the_tools_form_and_names_files_for_what_is_secret() -> None:
    device = DeviceFile(
        1, "lamp", CredentialKind.X509, "hub.local", 8883, "lockgate", "lamp", "ca.pem", "device.key", "device.crt"
    )
    rows = list(csv.reader(nvs_csv(device, Path("/made/lamp")).decode().splitlines()))
    assert rows[0] == ["key", "type", "encoding", "value"]
    assert rows[1] == ["lockgate", "namespace", "", ""]
    assert ["port", "data", "u16", "8883"] in rows
    assert ["key_pem", "file", "string", "/made/lamp/device.key"] in rows
    assert ["cert_pem", "file", "string", "/made/lamp/device.crt"] in rows
    assert "password" not in [row[0] for row in rows]
    assert all(len(row) == 4 and len(row[0]) <= MAX_KEY_CHARACTERS for row in rows)
