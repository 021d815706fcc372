"""A device's folder as an ESP32 reads it: the CSV from which ESP-IDF's `nvs_partition_gen.py` makes a flash partition.

Source: ESP-IDF's "NVS Partition Generator Utility": the header `key,type,encoding,value`, a line for the namespace,
then a line for each value, keys of at most 15 characters, strings of at most 4,000 bytes with their closing zero; a
line of type `file` takes its value from a file at build time. So the CSV holds no key, only where it is.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lockgate.provision.folder import DeviceFile

NVS_FILE = "nvs.csv"
NAMESPACE = "lockgate"
MAX_KEY_CHARACTERS = 15


def nvs_csv(device: DeviceFile, folder: Path) -> bytes:
    """Give the CSV for a device whose folder is, or will be, at `folder`."""
    rows = [
        ("key", "type", "encoding", "value"),
        (NAMESPACE, "namespace", "", ""),
        ("name", "data", "string", device.name),
        ("auth", "data", "string", device.auth.value),
        ("client_id", "data", "string", device.client_id),
        ("host", "data", "string", device.host),
        ("port", "data", "u16", str(device.port)),
        ("audience", "data", "string", device.audience),
    ]
    if device.psk_identity:
        rows.append(("psk_identity", "data", "string", device.psk_identity))
    files = (
        ("ca_pem", device.ca_file),
        ("key_pem", device.key_file),
        ("cert_pem", device.certificate_file),
        ("password", device.password_file),
        ("psk", device.psk_file),
        ("hub_pub_pem", device.hub_key_file),
    )
    rows += [(key, "file", "string", str(folder.absolute() / name)) for key, name in files if name is not None]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
