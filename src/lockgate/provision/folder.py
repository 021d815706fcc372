"""A device's folder: the names of its files, and `device.json`, which tells programs how to use them.

    device.json   who the device is, where the hub is, which file is what
    ca.pem        the root certificate that the hub's certificate must lead to
    device.key    the private key, PKCS #8 PEM, unencrypted               (jwt-*, x509, rpk)
    device.crt    the device's certificate, then the issuing CA's         (x509)
    password      the password, without a line end                        (password, scram-sha-256)
    client.mjs    a program for node that connects by SCRAM               (scram-sha-256)
    README.md     how to connect, for people

What a device that speaks CoAP gets besides is in `provision.coap_folder`. The folder has mode 0700 and every file in it
0600.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from lockgate.errors import InvalidSettings, Unavailable
from lockgate.model.device import CredentialKind

DEVICE_FILE = "device.json"
CA_FILE = "ca.pem"
KEY_FILE = "device.key"
CERTIFICATE_FILE = "device.crt"
PASSWORD_FILE = "password"  # noqa: S105  (a file's name, not a password)
SCRAM_PROGRAM = "client.mjs"
README_FILE = "README.md"

VERSION = 1
_FIX = "make a new folder with `lockgate device add NAME --auth KIND --out DIR`"


class HubAddress(msgspec.Struct, frozen=True):
    """Where devices reach the hub: a name or address that stands in its certificate, and the port of MQTT over TLS.

    `coap_port` is that of CoAP over DTLS, `plain_coap_port` that of CoAP without; 0 where there is none.
    """

    host: str
    port: int
    coap_port: int = 0
    plain_coap_port: int = 0

    def port_for(self, kind: CredentialKind) -> int:
        """Give the port that a device of a kind connects to.

        Raises:
            Unavailable: the door that it needs is not open, or nobody knows where.
        """
        if not kind.is_for_coap_alone:
            return self.port
        by_dtls = kind in (CredentialKind.PSK, CredentialKind.RPK)
        port = self.coap_port if by_dtls else self.plain_coap_port
        if not port:
            needed = "coap.enabled = true" if by_dtls else f"coap.{kind.value}_enabled = true"
            raise Unavailable(
                f"a device of kind {kind.value} needs a CoAP door that is not open, or whose port is not known",
                fix=f"set {needed} and a port in lockgate.toml, or start the hub first",
            )
        return port


class DeviceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `device.json` holds. File names are relative to the folder; those that the kind does not use are None.

    `port` is the one that its kind connects to. `office` is where the device enrolled, and renews its certificate; ""
    for one that was added by the operator. `coap_port` is where a device that speaks MQTT and CoAP finds the latter.
    """

    version: int
    name: str
    auth: CredentialKind
    host: str
    port: int
    audience: str
    client_id: str
    ca_file: str
    key_file: str | None = None
    certificate_file: str | None = None
    password_file: str | None = None
    office: str = ""
    coap_port: int = 0
    psk_file: str | None = None
    psk_identity: str = ""
    hub_key_file: str | None = None


class _Versioned(msgspec.Struct):
    version: int


def read_folder(folder: Path) -> DeviceFile:
    """Give what the `device.json` of `folder` says.

    Raises:
        InvalidSettings: when there is none, it cannot be read, is damaged, or comes from a later lockgate.
    """
    path = folder / DEVICE_FILE
    text = read_file(path, "a device's folder")
    try:
        version = msgspec.json.decode(text, type=_Versioned).version
        if version != VERSION:
            raise InvalidSettings(f"{path} has version {version}, this lockgate reads version {VERSION}", fix=_FIX)
        device = msgspec.json.decode(text, type=DeviceFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} is damaged: {error}", fix=_FIX) from error
    for name in (
        device.ca_file, device.key_file, device.certificate_file, device.password_file, device.psk_file,
        device.hub_key_file,
    ):  # fmt: skip
        if name is not None and (
            Path(name).name != name or name == ".."
        ):  # a folder from elsewhere must not make us use other keys
            raise InvalidSettings(f"{path} names {name!r}, which is no file of its own folder", fix=_FIX)
    return device


def read_file(path: Path, what: str) -> bytes:
    """Give the bytes of one file of a device's folder; `what` says in an error which thing was looked for.

    Raises:
        InvalidSettings: when it is missing or cannot be read.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a FIFO would make us wait for ever
            raise InvalidSettings(f"{path} is no ordinary file", fix=_FIX)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidSettings(f"{path.parent} is not {what}: it holds no {path.name}", fix=_FIX) from error
    except OSError as error:
        raise InvalidSettings(
            f"{path} cannot be read: {error.strerror}", fix="run this as the user who owns the folder"
        ) from error
