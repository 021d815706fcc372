"""What a device that speaks CoAP finds in its folder beside what every folder holds, made here.

    psk                    the pre-shared key: 32 printable characters, without a line end       (psk)
    aiocoap.json           which credentials are for which hub, as aiocoap reads it              (psk, oscore)
    oscore/settings.json   the OSCORE context; aiocoap keeps its sequence numbers beside it      (oscore)
    hub.pub.pem            the hub's public key, by which the device checks the hub              (rpk)
    device.rpk.pem         the device's key with its public half, as libcoap wants raw keys      (rpk)

A pre-shared key is 192 random bits, and not more than 32 bytes long, since small devices take no longer ones; each is a
character that can be typed, since many programs take no others.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import msgspec

from lockgate.identity.oscore import HUB_ID
from lockgate.model.device import CredentialKind
from lockgate.registry.shared_secrets import OSCORE_SALT_BYTES, OSCORE_SECRET_BYTES

PSK_FILE = "psk"
AIOCOAP_FILE = "aiocoap.json"
OSCORE_FOLDER = "oscore"
OSCORE_FILE = f"{OSCORE_FOLDER}/settings.json"
HUB_KEY_FILE = "hub.pub.pem"
RAW_KEY_FILE = "device.rpk.pem"

PSK_RANDOM_BYTES = 24
OSCORE_ID_BYTES = 4
OWN_PORTS = {"coap": 5683, "coaps": 5684}


class CoapAddress(msgspec.Struct, frozen=True):
    """Where the door is that a device of a kind uses: the scheme of its addresses, host and port."""

    scheme: str
    host: str
    port: int

    @property
    def base(self) -> str:
        """The beginning of every address at it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def coap_address(kind: CredentialKind, host: str, port: int) -> CoapAddress:
    """Give the address of the door for a kind: under DTLS, or beside it for those that have no need of it."""
    by_dtls = kind not in (CredentialKind.OSCORE, CredentialKind.NOSEC)
    return CoapAddress("coaps" if by_dtls else "coap", host, port)


def new_psk() -> bytes:
    """Give a new pre-shared key."""
    return secrets.token_urlsafe(PSK_RANDOM_BYTES).encode()


def psk_files(identity: str, key: bytes, hub: CoapAddress) -> dict[str, bytes]:
    """Give the files of a device with a pre-shared key."""
    dtls = {"psk": {"hex": key.hex()}, "client-identity": {"ascii": identity}}
    return {PSK_FILE: key, AIOCOAP_FILE: _for_hub(hub, {"dtls": dtls})}


def oscore_files(hub: CoapAddress) -> tuple[dict[str, bytes], str]:
    """Give the files of a new OSCORE context, and how the registry is told of it (`registry.shared_secrets`)."""
    device_id, secret, salt = (
        secrets.token_bytes(size) for size in (OSCORE_ID_BYTES, OSCORE_SECRET_BYTES, OSCORE_SALT_BYTES)
    )
    context = {
        "sender-id_hex": device_id.hex(),
        "recipient-id_hex": HUB_ID.hex(),
        "secret_hex": secret.hex(),
        "salt_hex": salt.hex(),
        "algorithm": "AES-CCM-16-64-128",
        "kdf-hashfun": "sha256",
    }
    # aiocoap finds an OSCORE context only where it stands itself, and opens one once for each place where it does.
    shown = {f"{_shown_base(hub)}/*": {"oscore": {"basedir": f"{OSCORE_FOLDER}/"}}}
    files = {OSCORE_FILE: _json(context), AIOCOAP_FILE: _json(shown)}
    return files, f"{device_id.hex()}:{secret.hex()}:{salt.hex()}"


def _shown_base(hub: CoapAddress) -> str:
    """Give the base as aiocoap writes it: without a port that is its scheme's own."""
    return hub.base.rpartition(":")[0] if hub.port == OWN_PORTS[hub.scheme] else hub.base


def _for_hub(hub: CoapAddress, credentials: Mapping[str, object]) -> bytes:
    bases = dict.fromkeys((hub.base, _shown_base(hub)))
    return _json({**{f"{base}/*": ":hub" for base in bases}, ":hub": credentials})


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"
