"""The CSV for an ESP32's flash: in the form of ESP-IDF's tool, and without any key in it."""

from __future__ import annotations

import csv
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.model.device import CredentialKind
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_to_pem
from lockgate.provision.bundle import make_bundle
from lockgate.provision.folder import CA_FILE, CERTIFICATE_FILE, KEY_FILE, PASSWORD_FILE, DeviceFile, HubAddress
from lockgate.provision.nvs import MAX_KEY_CHARACTERS, NAMESPACE, NVS_FILE, nvs_csv

NOW = 1_800_000_000.0
PAGE_BYTES, ENTRY_BYTES, ENTRIES = 4096, 32, 126
U16, STRING = 0x02, 0x21


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


@pytest.mark.requirement("I9")
@pytest.mark.parametrize("kind", [CredentialKind.X509, CredentialKind.JWT_RS256, CredentialKind.PASSWORD])
def test_espressifs_own_generator_takes_the_table_and_an_esp32_finds_the_folder_in_flash(
    tmp_path: Path, kind: CredentialKind
) -> None:
    authority = Authority.create_root(now=NOW).create_issuing(now=NOW)
    root = certificates_to_pem(authority.certificate)
    folder = tmp_path / "the lamp, in the hall"
    hub = HubAddress("hub.local", 8883)
    make_bundle(kind, "lamp", folder, hub, authority, root, "lockgate", NOW, with_nvs=True)
    made = subprocess.run(
        [sys.executable, "-m", "esp_idf_nvs_partition_gen", "generate", folder / NVS_FILE, "lamp.bin", "0x6000"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made
    flash = (tmp_path / "lamp.bin").read_bytes()
    assert len(flash) == 0x6000
    found = dict(entries(flash))
    expected: dict[str, str | int] = {
        "name": "lamp", "auth": kind.value, "client_id": "lamp", "host": "hub.local", "port": 8883,
        "audience": "lockgate", "ca_pem": (folder / CA_FILE).read_text(),
    }  # fmt: skip
    files = {"key_pem": KEY_FILE, "cert_pem": CERTIFICATE_FILE, "password": PASSWORD_FILE}
    expected |= {key: (folder / name).read_text() for key, name in files.items() if (folder / name).exists()}
    assert found == expected
    assert ("key_pem" in found) == (kind is not CredentialKind.PASSWORD)


def entries(flash: bytes) -> Iterator[tuple[str, str | int]]:
    """Read our namespace as an ESP32 does.

    Source: ESP-IDF Programming Guide, "Non-Volatile Storage Library", Structure of a Page and of an Entry.
    """
    namespaces: dict[int, str] = {}
    for start in range(0, len(flash), PAGE_BYTES):
        page = flash[start : start + PAGE_BYTES]
        if page[:4] == b"\xff" * 4:  # never written
            continue
        assert struct.unpack("<I", page[28:32])[0] == zlib.crc32(page[4:28], 0xFFFFFFFF)
        number = 0
        while number < ENTRIES:
            # Two bits for each entry: 0b10 says that it is written, 0b11 that it is empty.
            is_written = page[32 + number // 4] >> (2 * (number % 4)) & 0b11 == 0b10
            at = 64 + number * ENTRY_BYTES
            entry = page[at : at + ENTRY_BYTES]
            number += entry[2] if is_written else 1
            if not is_written:
                continue
            assert struct.unpack("<I", entry[4:8])[0] == zlib.crc32(entry[:4] + entry[8:], 0xFFFFFFFF)
            key = entry[8:24].rstrip(b"\0").decode()
            if entry[0] == 0:
                namespaces[entry[24]] = key
                continue
            assert namespaces[entry[0]] == NAMESPACE
            if entry[1] == U16:
                yield key, struct.unpack("<H", entry[24:26])[0]
                continue
            assert entry[1] == STRING
            size, checksum = struct.unpack("<H2xI", entry[24:32])
            value = page[at + ENTRY_BYTES : at + ENTRY_BYTES + size]
            assert (zlib.crc32(value, 0xFFFFFFFF), value[-1]) == (checksum, 0)
            yield key, value[:-1].decode()


def test_what_a_device_needs_for_coap_is_named_too() -> None:
    device = DeviceFile(
        1, "lamp", CredentialKind.PSK, "hub.local", 5684, "lockgate", "lamp", "ca.pem", psk_file="psk",
        psk_identity="lamp/2", hub_key_file="hub.pub.pem",
    )  # fmt: skip
    rows = list(csv.reader(nvs_csv(device, Path("/made/lamp")).decode().splitlines()))
    assert ["psk_identity", "data", "string", "lamp/2"] in rows
    assert ["psk", "file", "string", "/made/lamp/psk"] in rows
    assert ["hub_pub_pem", "file", "string", "/made/lamp/hub.pub.pem"] in rows
    assert all(len(row[0]) <= MAX_KEY_CHARACTERS for row in rows)
