"""What a connection is made of: the TLS context, the user name and secret, and the pause before a new attempt."""

from __future__ import annotations

import ssl
from pathlib import Path

from lockgate.errors import InvalidSettings
from lockgate.model.device import CredentialKind
from lockgate.provision.folder import DeviceFile, read_file
from lockgate.provision.token import make_token

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def tls_context(folder: Path, device: DeviceFile) -> ssl.SSLContext:
    """Give a TLS context that trusts the folder's root alone, checks the hub's name and shows the device's certificate.

    TLS 1.2 and 1.3 with forward secrecy and AEAD suites only (RFC 9325 section 4.2); no renegotiation.

    Raises:
        InvalidSettings: when a file is missing or is not what it should be.
    """
    ca_path = folder / device.ca_file
    context = hub_context(read_file(ca_path, "a whole device folder"), str(ca_path))
    if device.certificate_file is not None and device.key_file is not None:
        show_certificate(context, folder / device.certificate_file, folder / device.key_file)
    return context


def hub_context(ca_pem: bytes, what: str = "the CA's file") -> ssl.SSLContext:
    """Give a TLS context that trusts the roots in `ca_pem` alone and checks the hub's name; errors say `what` it was.

    Raises:
        InvalidSettings: when it holds no certificate.
    """
    context = _context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:  # no PEM, no ASCII, or nothing at all
        raise InvalidSettings(f"{what} holds no certificate that can be trusted") from error
    return context


def show_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have a context show the device's certificate.

    Raises:
        InvalidSettings: when a file is missing, or the key is another's.
    """
    read_file(certificate, "a whole device folder")
    read_file(key, "a whole device folder")
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise InvalidSettings(f"{key} is not the private key of the certificate in {certificate}") from error


def bootstrap_context() -> ssl.SSLContext:
    """Give a TLS context that knows nobody yet: to fetch a root that is believed by its fingerprint, and for no secret.

    Source: RFC 7030 section 4.1.1.
    """
    context = _context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # CERT_REQUIRED and check_hostname from the start
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def user_and_secret(folder: Path, device: DeviceFile, token_lifetime_seconds: float) -> tuple[str, str] | None:
    """Give the user name and the password of a CONNECT, made anew each time; None for a device with a certificate.

    Raises:
        InvalidSettings: when the key or the password cannot be read, or the device proves itself by SCRAM or by CoAP.
    """
    if device.auth is CredentialKind.X509:
        return None
    if device.auth.is_for_coap_alone:
        raise InvalidSettings(
            f"{device.name} proves itself by {device.auth.value}, which is for CoAP; this client speaks MQTT",
            fix="use a CoAP client (README.md in its folder has the lines), or give it a key with --auth jwt-es256",
        )
    if device.auth is CredentialKind.SCRAM_SHA_256:
        raise InvalidSettings(
            f"{device.name} proves itself by SCRAM, for which the Python client's MQTT library has no packet (AUTH)",
            fix="use client.mjs in its folder, or make the device anew with --auth jwt-es256",
        )
    if device.password_file is None:
        return device.name, make_token(folder, token_lifetime_seconds)
    password = read_file(folder / device.password_file, "a whole device folder")
    return device.name, password.decode("utf-8", "replace").strip()


def pause_seconds(attempt: int, chance: float) -> float:
    """Give the pause before connection attempt number `attempt` (from 1): it doubles up to a minute.

    Half of it is chance, so that a thousand devices that lost one hub do not come back in one moment.

    Args:
        attempt: how many attempts have failed since the last success, at least 1.
        chance: a random number from 0 to 1.
    """
    whole = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 16))
    return whole * (0.5 + chance / 2)
