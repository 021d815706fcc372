"""How a device gets its first certificate by itself, and each one after it: EST from the device's side.

The private key is made here and stays here. The hub is trusted by the root certificate that the device was given, or by
that root's fingerprint: then the root is fetched first, from whoever answers, and believed only if it is that one.

Source: RFC 7030 sections 4.1.1 (bootstrap by fingerprint), 4.2.1 and 4.2.2 (enrol and enrol again).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.client.options import bootstrap_context, hub_context, show_certificate
from lockgate.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidSettings,
    LockgateError,
    NotAuthorized,
    QuotaExceeded,
    RateExceeded,
    Unavailable,
    in_words,
)
from lockgate.model.device import check_name
from lockgate.pki.certificates import (
    PrivateKey,
    certificates_from_pem,
    certificates_to_pem,
    device_name_of,
    generate_key,
    private_key_from_pem,
    private_key_to_pem,
)
from lockgate.provision import est
from lockgate.provision.bundle import check_free, make_enrolled_bundle
from lockgate.provision.folder import HubAddress, read_file, read_folder

EST = "/.well-known/est"
TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 1_048_576
DEFAULT_MQTT_PORT = 8883
DEFAULT_OFFICE_PORT = 8443
RENEW_AT = 2 / 3
"""The part of a certificate's life after which it is time for the next one."""

_ERRORS: Mapping[int, type[LockgateError]] = {
    400: InvalidSettings,
    401: AuthenticationFailed,
    403: NotAuthorized,
    409: Conflict,
    413: InvalidSettings,
    429: QuotaExceeded,
    503: Unavailable,
}


class Office:
    """The hub's office, as a device asks it.

    Args:
        url: "https://HOST" or "https://HOST:PORT".
        context: whom to trust, and which certificate to show.
    """

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.host, self.port = parse_url(url)
        self._context = context

    def get(self, path: str) -> tuple[bytes, Mapping[str, str]]:
        """Fetch something; give it with its headers."""
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: bytes, login: tuple[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
        """Send a certificate request; give the answer with its headers."""
        headers = {"Content-Type": est.REQUEST_TYPE, "Content-Transfer-Encoding": "base64"}
        if login is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        return self._ask("POST", path, body, headers)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[bytes, Mapping[str, str]]:
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_SECONDS, context=self._context)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER_BYTES)
        except ssl.SSLCertVerificationError as error:
            raise AuthenticationFailed(
                f"{self.host}:{self.port} is not the hub that this device trusts: {error.verify_message}",
                fix="check the host name, the CA certificate or its fingerprint, and this device's clock",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"the hub's office at {self.host}:{self.port} cannot be reached: {in_words(error)}",
                fix="check the host, the port (8443 unless the hub says otherwise) and the network, and try again",
            ) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise _refusal(answer.status, content)
        return content, {name.lower(): value for name, value in answer.getheaders()}


def enrol(
    url: str, name: str, token: str, root_pem: bytes, out: Path, mqtt_port: int | None = None
) -> x509.Certificate:
    """Make the folder `out` for this device with a certificate that a claim token gives; give the certificate.

    Should the answer be lost on its way, the same command does it again with the same key.

    Args:
        url: the office.
        name: what the device shall be called.
        token: the claim token.
        root_pem: the root certificate that the hub must lead to.
        out: the folder to make; may exist if it is empty.
        mqtt_port: where the hub speaks MQTT over TLS; None takes what the office says.

    Raises:
        LockgateError: the hub refused, or cannot be reached; its words.
        Conflict: `out` exists and is not an empty folder.
    """
    check_name(name)
    check_free(out)
    office = Office(url, hub_context(root_pem))
    pending = out.resolve().with_name(f".{out.resolve().name}.key")
    key = _pending_key(pending)
    answer, headers = office.post(f"{EST}/simpleenroll", est.encode_request(est.make_request(name, key)), (name, token))
    leaf = _check_leaf(est.decode_certificates(answer), key, name)
    chain = _chain(office, leaf)
    port = mqtt_port or _port(headers.get("lockgate-mqtt-port", "")) or DEFAULT_MQTT_PORT
    make_enrolled_bundle(
        name, out, HubAddress(office.host, port), root_pem, private_key_to_pem(key), certificates_to_pem(leaf, *chain),
        f"https://{_in_url(office.host)}:{office.port}",
    )  # fmt: skip
    pending.unlink(missing_ok=True)
    return leaf


def renew(folder: Path, url: str | None = None, keeps_key: bool = False) -> x509.Certificate:
    """Put the next certificate, with a new key unless `keeps_key`, into a device's folder; give the certificate.

    The old one stays good until it ends or is revoked, so that a running client goes on.

    Raises:
        InvalidSettings: the folder is not one of a device with a certificate.
        LockgateError: the hub refused, or cannot be reached; its words.
    """
    device = read_folder(folder)
    if device.certificate_file is None or device.key_file is None:
        raise InvalidSettings(
            f"{folder} is of a device that has no certificate ({device.auth})",
            fix="for a new key or password, where the hub is: lockgate device rotate NAME --out DIR",
        )
    certificate_path, key_path = folder / device.certificate_file, folder / device.key_file
    _finish(certificate_path, key_path)
    old_key = private_key_from_pem(read_file(key_path, "a whole device folder"))
    context = hub_context(read_file(folder / device.ca_file, "a whole device folder"))
    show_certificate(context, certificate_path, key_path)
    office = Office(url or device.office or f"https://{_in_url(device.host)}:{DEFAULT_OFFICE_PORT}", context)
    key = old_key if keeps_key else generate_key("ec")
    answer, _ = office.post(f"{EST}/simplereenroll", est.encode_request(est.make_request(device.name, key)))
    leaf = _check_leaf(est.decode_certificates(answer), key, device.name)
    chain = _chain(office, leaf)
    _write_private(_new(key_path), private_key_to_pem(key))
    _write_private(_new(certificate_path), certificates_to_pem(leaf, *chain))
    _finish(certificate_path, key_path)
    return leaf


def is_due(folder: Path, now: float | None = None) -> bool:
    """Say whether two thirds of the life of a device's certificate are over."""
    device = read_folder(folder)
    if device.certificate_file is None:
        return False
    leaf = certificates_from_pem(read_file(folder / device.certificate_file, "a whole device folder"))[0]
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    return (time.time() if now is None else now) >= begin + (end - begin) * RENEW_AT


def fetch_root(url: str, fingerprint: str) -> bytes:
    """Fetch the root certificate with this SHA-256 fingerprint from the office; give it as PEM.

    Raises:
        AuthenticationFailed: the office has no such root: it is not the hub that is meant.
        InvalidSettings: the fingerprint is none.
    """
    wanted = parse_fingerprint(fingerprint)
    body, _ = Office(url, bootstrap_context()).get(f"{EST}/cacerts")
    for each in est.decode_certificates(body):
        found = hashlib.sha256(each.public_bytes(Encoding.DER)).digest()
        if hmac.compare_digest(found, wanted) and each.issuer == each.subject:
            return certificates_to_pem(each)
    raise AuthenticationFailed(
        "no root certificate of that hub has this fingerprint: it is another hub, or somebody in between",
        fix="compare with: openssl x509 -in ca.pem -noout -fingerprint -sha256",
    )


def parse_fingerprint(text: str) -> bytes:
    """Give the 32 bytes of a SHA-256 fingerprint, with or without colons.

    Raises:
        InvalidSettings: when it is none.
    """
    digits = text.strip().lower().removeprefix("sha256:").removeprefix("sha256 fingerprint=").replace(":", "")
    with contextlib.suppress(ValueError):
        found = bytes.fromhex(digits)
        if len(found) == hashlib.sha256().digest_size:
            return found
    raise InvalidSettings(
        "a fingerprint is 64 hexadecimal digits", fix="openssl x509 -in ca.pem -noout -fingerprint -sha256 prints it"
    )


def parse_url(url: str) -> tuple[str, int]:
    """Give host and port of an office's address.

    Raises:
        InvalidSettings: when it is none.
    """
    with contextlib.suppress(ValueError):
        parts = urlsplit(url if "://" in url else f"https://{url}")
        if parts.scheme == "https" and parts.hostname and parts.path in ("", "/") and not parts.query:
            return parts.hostname, parts.port or DEFAULT_OFFICE_PORT
    raise InvalidSettings(f"{url!r} is no address of an office", fix="write https://HOST:8443")


def _refusal(status: int, body: bytes) -> LockgateError:
    text = body.decode("utf-8", "replace").strip()[:1000]
    words, _, rest = text.partition("\n")
    reason, _, fix = words.partition(": ")
    reference = rest.removeprefix("reference: ").strip()
    told = f" (reference {reference})" if reference else ""
    kind = RateExceeded if status == 429 and "many" in reason else _ERRORS.get(status, Unavailable)
    return kind(f"the hub refused: {reason}{told}", fix=fix)


def _check_leaf(certificates: Sequence[x509.Certificate], key: PrivateKey, name: str) -> x509.Certificate:
    """Give the certificate that is for our key and our name; the hub is trusted, and yet looked at."""
    for each in certificates:
        if each.public_key() == key.public_key() and device_name_of(each) == name:
            return each
    raise Unavailable(
        f"the hub's answer holds no certificate of {name} for the key that was sent", fix="try again; ask its operator"
    )


def _chain(office: Office, leaf: x509.Certificate) -> list[x509.Certificate]:
    """Give the CA certificates between a leaf and its root, the root left out."""
    body, _ = office.get(f"{EST}/cacerts")
    known = est.decode_certificates(body)
    chain: list[x509.Certificate] = []
    current = leaf
    while current.issuer != current.subject and len(chain) <= len(known):
        issuer = next((each for each in known if _has_issued(each, current)), None)
        if issuer is None or issuer.issuer == issuer.subject:
            break
        chain.append(issuer)
        current = issuer
    return chain


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _pending_key(path: Path) -> PrivateKey:
    """Give the key of an enrolment that was begun and not ended, or make one: it is kept before anybody hears of it."""
    if path.exists():
        return private_key_from_pem(read_file(path, "a place for a new key"))
    key = generate_key("ec")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_private(path, private_key_to_pem(key))
    except OSError as error:
        raise InvalidSettings(
            f"{path.parent} cannot be written: {error.strerror}", fix="name a folder in a place that you may write to"
        ) from error
    return key


def _finish(certificate_path: Path, key_path: Path) -> None:
    """Put new files in the place of the old ones; also those of a renewal that was cut short between the two.

    The key goes first: if it has gone and the certificate has not, the new certificate is still there.
    """
    if not _new(certificate_path).exists():
        _new(key_path).unlink(missing_ok=True)  # nothing came of it
        return
    if _new(key_path).exists():
        os.replace(_new(key_path), key_path)
    os.replace(_new(certificate_path), certificate_path)


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _port(text: str) -> int | None:
    with contextlib.suppress(msgspec.MsgspecError):
        port = msgspec.json.decode(text, type=int)
        return port if 0 < port < 65_536 else None
    return None


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
