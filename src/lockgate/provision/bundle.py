"""Bundles: the folder that turns a machine into a device, made whole or not at all.

Everything is written to a temporary folder beside the wanted one and then renamed: a reader sees the finished folder
or none. The secret exists in that folder alone; what comes back for the registry is public.

Passwords are 192 random bits, kept by the hub as argon2id in PHC form with RFC 9106's second recommended set: 3
passes over 64 MiB in 4 lanes. That is what `identity` assumes for a device that it does not know, so that both
answers take the same time. For SCRAM the hub keeps a verifier of the same kind of password.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from argon2 import PasswordHasher, Type
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from lockgate.errors import Conflict, InvalidSettings
from lockgate.identity.scram import make_verifier
from lockgate.model.device import CredentialKind, check_name
from lockgate.pki.authority import DEVICE_LIFE_SECONDS
from lockgate.pki.certificates import (
    PublicKey,
    certificate_thumbprint,
    certificates_from_pem,
    certificates_to_pem,
    check_public_key,
    generate_key,
    private_key_to_pem,
    public_key_to_pem,
    spki_thumbprint,
)
from lockgate.provision.coap_folder import (
    HUB_KEY_FILE,
    PSK_FILE,
    RAW_KEY_FILE,
    CoapAddress,
    coap_address,
    new_psk,
    oscore_files,
    psk_files,
)
from lockgate.provision.folder import (
    CA_FILE,
    CERTIFICATE_FILE,
    DEVICE_FILE,
    KEY_FILE,
    PASSWORD_FILE,
    README_FILE,
    SCRAM_PROGRAM,
    VERSION,
    DeviceFile,
    HubAddress,
)
from lockgate.provision.guide import readme, scram_program
from lockgate.provision.nvs import NVS_FILE, nvs_csv

PASSWORD_BYTES = 24
_KEYS: dict[CredentialKind, Literal["rsa", "ed25519"]] = {
    CredentialKind.JWT_RS256: "rsa",
    CredentialKind.JWT_EDDSA: "ed25519",
}
_FITTING: dict[CredentialKind, tuple[str, ...]] = {
    CredentialKind.X509: ("a certificate request", "a certificate"),
    CredentialKind.PASSWORD: ("a password",),
    CredentialKind.SCRAM_SHA_256: ("a password",),
    CredentialKind.PSK: ("a pre-shared key",),
    CredentialKind.OSCORE: (),
    CredentialKind.NOSEC: ("an address",),
}
DEFAULT_AUDIENCE = "lockgate"
HASHER = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4, hash_len=32, salt_len=16, type=Type.ID)


class NewCredential(msgspec.Struct, frozen=True):
    """What the registry needs to know a new device by; the fields are those of `model.Credential`."""

    kind: CredentialKind
    public: str
    expires_at: float | None = None
    thumbprint: str = ""

    def __repr__(self) -> str:
        """Show which it is, and not what it is checked by."""
        return f"NewCredential(kind={self.kind.value!r}, thumbprint={self.thumbprint!r})"


class Given(msgspec.Struct, frozen=True):
    """What the device or its maker brings, so that nothing secret is made here; "" for what is not brought.

    `public` is a public key or a certificate over it in PEM form (token kinds, rpk), `request` a PKCS #10 certificate
    request in PEM form (x509), `password` a password (password, scram-sha-256), `certificate` one that was issued
    elsewhere and has been looked over, with what is shown along with it (x509), `psk` a pre-shared key in hexadecimal
    (psk), `address` the one that the device sends from (nosec).
    """

    public: str = ""
    request: str = ""
    password: str = ""
    certificate: str = ""
    psk: str = ""
    address: str = ""

    def __repr__(self) -> str:
        """Show which, never the password or the key."""
        return (
            f"Given(public={self.public!r}, request={self.request!r}, has_password={bool(self.password)}, "
            f"certificate={self.certificate!r}, has_psk={bool(self.psk)}, address={self.address!r})"
        )


NOTHING = Given()


class Issuer(Protocol):
    """Whoever issues certificates for devices: `lockgate.ca`'s desk."""

    def issue_device(
        self, name: str, public_key: PublicKey, *, now: float, life_seconds: float = DEVICE_LIFE_SECONDS
    ) -> x509.Certificate:
        """Give a client certificate that speaks for the device `name`."""
        ...

    def chain_pem(self, leaf: x509.Certificate) -> bytes:
        """Give the certificate as its device shows it: followed by its issuer's."""
        ...


def make_bundle(
    kind: CredentialKind,
    name: str,
    out: Path,
    hub: HubAddress,
    authority: Issuer | None,
    ca_pem: bytes,
    audience: str,
    now: float,
    *,
    life_seconds: float = DEVICE_LIFE_SECONDS,
    register: Callable[[NewCredential], object] | None = None,
    given: Given = NOTHING,
    with_nvs: bool = False,
    is_durable: bool = True,
    expires_at: float | None = None,
    identity: str = "",
    hub_key_pem: bytes = b"",
) -> NewCredential:
    """Make the folder `out` for a new device and give what the registry is to remember of it.

    Args:
        kind: how the device shall prove itself.
        name: the device's name.
        out: the folder to make; may exist if it is empty.
        hub: where the device reaches the hub.
        authority: issues the certificate, and writes down that it did; needed for x509 alone.
        ca_pem: the root certificate, for the device to check the hub by.
        audience: what the device's tokens must name.
        now: unix seconds.
        life_seconds: how long a certificate lives, at most.
        register: called with the result once the folder is there; if it raises, the folder is removed again.
        given: what the device brings itself; its private key stays where it was made.
        with_nvs: write `nvs.csv` for an ESP32 as well.
        is_durable: wait for the disk; whoever makes many waits once, for all.
        expires_at: the unix second at which the credential ends, if it shall; a certificate may end earlier.
        identity: under which a pre-shared key is used, if not the device's name.
        hub_key_pem: the hub's public key, for a device of kind rpk to check the hub by.

    Raises:
        Conflict: `out` exists and is not an empty folder.
        InvalidSettings: the name is not valid, the folder cannot be written, or x509 without an authority.
        Unavailable: the port of the door that the kind needs is not known.
    """
    check_name(name)
    target = out.resolve()
    _check_free(target, out)
    _check_given(kind, given)
    if expires_at is not None:
        life_seconds = min(life_seconds, expires_at - now)
    port = hub.port_for(kind)
    identity = identity or name
    if kind.is_for_coap_alone:
        secret_files, credential = _make_coap_secret(kind, identity, coap_address(kind, hub.host, port), given)
    else:
        secret_files, credential = _make_secret(kind, name, authority, now, life_seconds, given)
    if kind is CredentialKind.RPK:
        secret_files[HUB_KEY_FILE] = hub_key_pem
    credential = _ending(credential, expires_at)
    brings_key = bool(given.public or given.request or given.certificate)
    device = DeviceFile(
        version=VERSION,
        name=name,
        auth=kind,
        host=hub.host,
        port=port,
        audience=audience,
        client_id=name,
        ca_file=CA_FILE,
        key_file=KEY_FILE if KEY_FILE in secret_files or brings_key else None,
        certificate_file=CERTIFICATE_FILE if CERTIFICATE_FILE in secret_files else None,
        password_file=PASSWORD_FILE if PASSWORD_FILE in secret_files else None,
        coap_port=hub.coap_port if kind is CredentialKind.X509 else 0,
        psk_file=PSK_FILE if PSK_FILE in secret_files else None,
        psk_identity=identity if kind is CredentialKind.PSK else "",
        hub_key_file=HUB_KEY_FILE if HUB_KEY_FILE in secret_files else None,
    )
    files = {
        **secret_files,
        CA_FILE: ca_pem,
        DEVICE_FILE: msgspec.json.format(msgspec.json.encode(device)) + b"\n",
        README_FILE: readme(device, brings_key).encode(),
    }
    if with_nvs:
        files[NVS_FILE] = nvs_csv(device, target)
    _write_folder(target, files, is_durable)
    if register is not None:
        try:
            register(credential)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    return credential


def take_given(
    kind: CredentialKind, name: str, given: Given, expires_at: float | None = None, identity: str = ""
) -> NewCredential:
    """Give what the registry is to remember of a key, certificate, password or address that is in its place already.

    Raises:
        InvalidSettings: when it is neither, or does not go with the kind.
    """
    _check_given(kind, given)
    if not given.public and not given.password and not given.certificate and not given.psk and not given.address:
        raise InvalidSettings(
            f"what is made for {name} has to go somewhere", fix="--out DIR, the folder to make for what it gets"
        )
    if kind.is_for_coap_alone:
        nowhere = coap_address(kind, "localhost", 0)
        return _ending(_make_coap_secret(kind, identity or name, nowhere, given)[1], expires_at)
    return _ending(_make_secret(kind, name, None, 0.0, 0.0, given)[1], expires_at)


def _ending(credential: NewCredential, expires_at: float | None) -> NewCredential:
    ends = [end for end in (credential.expires_at, expires_at) if end is not None]
    return msgspec.structs.replace(credential, expires_at=min(ends, default=None))


def make_enrolled_bundle(
    name: str, out: Path, hub: HubAddress, ca_pem: bytes, key_pem: bytes, chain_pem: bytes, office: str
) -> None:
    """Make the folder `out` of a device that has enrolled by itself, as `make_bundle` makes it for one of kind x509.

    Args:
        name: the device's name.
        out: the folder to make; may exist if it is empty.
        hub: where the device reaches the hub.
        ca_pem: the root certificate, for the device to check the hub by.
        key_pem: the device's private key.
        chain_pem: its certificate, followed by the CA's that issued it.
        office: the address at which it enrolled, and renews.

    Raises:
        Conflict: `out` exists and is not an empty folder.
        InvalidSettings: the folder cannot be written.
    """
    check_free(out)
    device = DeviceFile(
        version=VERSION,
        name=name,
        auth=CredentialKind.X509,
        host=hub.host,
        port=hub.port,
        audience=DEFAULT_AUDIENCE,
        client_id=name,
        ca_file=CA_FILE,
        key_file=KEY_FILE,
        certificate_file=CERTIFICATE_FILE,
        office=office,
    )
    _write_folder(
        out.resolve(),
        {
            KEY_FILE: key_pem,
            CERTIFICATE_FILE: chain_pem,
            CA_FILE: ca_pem,
            DEVICE_FILE: msgspec.json.format(msgspec.json.encode(device)) + b"\n",
            README_FILE: readme(device).encode(),
        },
        is_durable=True,
    )


def check_free(out: Path) -> None:
    """Come back when `out` may become a device's folder.

    Raises:
        Conflict: it exists and is not an empty folder.
        InvalidSettings: it cannot be looked at.
    """
    _check_free(out.resolve(), out)


def _make_secret(
    kind: CredentialKind, name: str, authority: Issuer | None, now: float, life_seconds: float, given: Given
) -> tuple[dict[str, bytes], NewCredential]:
    """Give the files that prove the device, and what the registry knows it by."""
    if kind is CredentialKind.PASSWORD:
        # Hexadecimal: needs no quoting anywhere, and never begins with a dash.
        password = given.password or secrets.token_hex(PASSWORD_BYTES)
        return {PASSWORD_FILE: password.encode()}, NewCredential(kind, HASHER.hash(password))
    if kind is CredentialKind.SCRAM_SHA_256:
        password = given.password or secrets.token_hex(PASSWORD_BYTES)
        folder = {PASSWORD_FILE: password.encode(), SCRAM_PROGRAM: scram_program()}
        return folder, NewCredential(kind, make_verifier(password).to_text())
    if given.public:  # checked, and brought into one form, by whoever registers it
        return {}, NewCredential(kind, given.public)
    if given.certificate:
        leaf = certificates_from_pem(given.certificate.encode())[0]
        ends_at = leaf.not_valid_after_utc.timestamp()
        credential = NewCredential(kind, certificates_to_pem(leaf).decode(), ends_at, certificate_thumbprint(leaf))
        return {CERTIFICATE_FILE: given.certificate.encode()}, credential
    files: dict[str, bytes] = {}
    if given.request:
        public_key = requested_key(given.request)
    else:
        key = generate_key(_KEYS.get(kind, "ec"))
        files[KEY_FILE] = private_key_to_pem(key)
        public_key = key.public_key()
    thumbprint = spki_thumbprint(public_key)
    if kind is not CredentialKind.X509:
        return files, NewCredential(kind, public_key_to_pem(public_key).decode(), thumbprint=thumbprint)
    if authority is None:
        raise InvalidSettings("a device of kind x509 needs the certificate authority, and none was given")
    leaf = authority.issue_device(name, public_key, now=now, life_seconds=life_seconds)
    files[CERTIFICATE_FILE] = authority.chain_pem(leaf)
    expires_at = leaf.not_valid_after_utc.timestamp()
    return files, NewCredential(kind, certificates_to_pem(leaf).decode(), expires_at, thumbprint)


def _make_coap_secret(
    kind: CredentialKind, identity: str, hub: CoapAddress, given: Given
) -> tuple[dict[str, bytes], NewCredential]:
    """Give the same for the kinds that speak CoAP alone."""
    if kind is CredentialKind.NOSEC:
        return {}, NewCredential(kind, given.address)
    if kind is CredentialKind.OSCORE:
        files, shared = oscore_files(hub)
        return files, NewCredential(kind, shared)
    if kind is CredentialKind.PSK:
        text = given.psk or new_psk().hex()
        credential = NewCredential(kind, f"{identity}:{text}")
        try:
            return psk_files(identity, bytes.fromhex(text), hub), credential
        except ValueError:  # whoever registers it says so, and names what mends it
            return {}, credential
    if given.public:
        return {}, NewCredential(kind, given.public)
    key = generate_key("ec")
    private, public = private_key_to_pem(key), public_key_to_pem(key.public_key())
    thumbprint = spki_thumbprint(key.public_key())
    return {KEY_FILE: private, RAW_KEY_FILE: private + public}, NewCredential(
        kind, public.decode(), thumbprint=thumbprint
    )


def requested_key(pem: str) -> PublicKey:
    """Give the key that a certificate request (RFC 2986) asks a certificate for; nothing else of it counts.

    Raises:
        InvalidSettings: when it is none, or not signed by that key, or the key is weak.
    """
    fix = "make it on the device: openssl req -new -key device.key -subj /CN=NAME -out device.csr"
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        is_signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSettings("expected a certificate request in PEM form, found something else", fix=fix) from error
    if not is_signed:
        raise InvalidSettings("the certificate request is not signed by the key that it asks for", fix=fix)
    return check_public_key(key)


def _check_given(kind: CredentialKind, given: Given) -> None:
    brought = {
        "a public key": given.public, "a certificate request": given.request, "a password": given.password,
        "a certificate": given.certificate, "a pre-shared key": given.psk, "an address": given.address,
    }  # fmt: skip
    fitting = _FITTING.get(kind, ("a public key",))
    for what, value in brought.items():
        if value and what not in fitting:
            raise InvalidSettings(
                f"a device of kind {kind.value} brings {' or '.join(fitting) or 'nothing'}, not {what}",
                fix="choose another --auth, or leave it out",
            )
    if kind is CredentialKind.NOSEC and not given.address:
        raise InvalidSettings(
            "a device without protection is known by its address alone", fix="name it with --address 192.0.2.7"
        )
    if given.request and given.certificate:
        raise InvalidSettings("a device brings a certificate or a request for one, not both", fix="leave one out")


def _check_free(target: Path, shown: Path) -> None:
    fix = "name a folder that does not exist yet"
    try:
        if target.is_dir():
            if any(target.iterdir()):
                raise Conflict(f"the folder {shown} is not empty: a device's folder must be a new one", fix=fix)
            if target == Path.cwd():
                raise Conflict(
                    f"the folder {shown} is the one you are in: a device's folder must be a new one", fix=fix
                )
        elif target.exists():
            raise Conflict(f"{shown} is a file: a device's folder must be a new one", fix=fix)
    except OSError as error:
        raise _unwritable(target, error) from error


def _write_folder(target: Path, files: dict[str, bytes], is_durable: bool) -> None:
    """Make `target` with `files` in it, all or nothing; parents that were made for it go with it."""
    made = [parent for parent in target.parents if not parent.exists()]
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))  # mode 0700
        for name, content in files.items():
            _write_file(temporary / name, content, is_durable)
        temporary = temporary.rename(target)  # replaces an empty folder, refuses any other
        if is_durable:
            _sync(target.parent)
    except BaseException as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(made)
        if isinstance(error, OSError):
            raise _unwritable(target, error) from error
        raise


def _write_file(path: Path, content: bytes, is_durable: bool) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if is_durable:
            file.flush()
            os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:  # the innermost first
        try:
            folder.rmdir()
        except OSError:
            return


def _unwritable(target: Path, error: OSError) -> InvalidSettings:
    return InvalidSettings(
        f"the folder {target} cannot be written: {error.strerror}", fix="name a folder in a place that you may write to"
    )
