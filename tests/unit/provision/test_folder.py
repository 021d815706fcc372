"""device.json is read strictly, and whatever is wrong with a folder is said in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidSettings, Unavailable
from lockgate.model.device import CredentialKind
from lockgate.provision.folder import DeviceFile, HubAddress, read_file, read_folder

GOOD: dict[str, Any] = {
    "version": 1, "name": "sensor-1", "auth": "jwt-es256", "host": "hub.local", "port": 8883, "audience": "lockgate",
    "client_id": "sensor-1", "ca_file": "ca.pem", "key_file": "device.key",
}  # fmt: skip


def test_a_good_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "device.json").write_text(json.dumps(GOOD))
    assert read_folder(tmp_path) == DeviceFile(
        1, "sensor-1", CredentialKind.JWT_ES256, "hub.local", 8883, "lockgate", "sensor-1", "ca.pem", "device.key"
    )


def test_a_folder_without_device_json_is_named_and_the_way_out_too(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"is not a device's folder: it holds no device\.json") as caught:
        read_folder(tmp_path)
    assert "lockgate device add" in caught.value.fix


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"nowhere is not a device's folder"):
        read_folder(tmp_path / "nowhere")


def test_a_folder_of_a_later_lockgate_is_refused_with_both_versions(tmp_path: Path) -> None:
    (tmp_path / "device.json").write_text(json.dumps({**GOOD, "version": 2, "novelty": True}))
    with pytest.raises(InvalidSettings, match="has version 2, this lockgate reads version 1"):
        read_folder(tmp_path)


@pytest.mark.parametrize("change", [{"auth": "magic"}, {"port": "8883"}, {"novelty": 1}, {"name": None}])
def test_a_wrong_or_unknown_field_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "device.json").write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(InvalidSettings, match=r"device\.json is damaged: .*" + next(iter(change))):
        read_folder(tmp_path)


@given(st.binary(max_size=60))
def test_any_other_bytes_are_refused_in_words(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("device")
    (folder / "device.json").write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"device\.json is damaged"):
        read_folder(folder)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "device.json").mkdir()
    with pytest.raises(InvalidSettings, match=r"device\.json cannot be read: Is a directory"):
        read_file(tmp_path / "device.json", "a device's folder")


@pytest.mark.parametrize("name", ["/etc/ssl/private/other.key", "../other/device.key", "keys/device.key", ".."])
@pytest.mark.parametrize("field", ["ca_file", "key_file", "certificate_file", "password_file"])
def test_a_folder_from_elsewhere_cannot_make_us_use_files_outside_it(field: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "device.json").write_text(json.dumps({**GOOD, field: name}))
    with pytest.raises(InvalidSettings, match="no file of its own folder"):
        read_folder(tmp_path)


def test_a_file_that_would_make_us_wait_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "device.json")
    with pytest.raises(InvalidSettings, match="no ordinary file"):
        read_folder(tmp_path)


def test_a_kind_connects_to_the_port_of_its_door() -> None:
    hub = HubAddress("hub.local", 8883, 5684, 5683)
    ports = {kind.value: hub.port_for(kind) for kind in CredentialKind}
    assert {name: port for name, port in ports.items() if port != 8883} == {
        "psk": 5684, "rpk": 5684, "oscore": 5683, "nosec": 5683,
    }  # fmt: skip
    with pytest.raises(Unavailable, match="needs a CoAP door") as caught:
        HubAddress("hub.local", 8883, 5684).port_for(CredentialKind.OSCORE)
    assert "coap.oscore_enabled" in caught.value.fix
