"""What attackers and careless people show a hub: tokens and client certificates that are wrong in one way each."""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from joserfc import jwt
from joserfc.jwk import ECKey

from lockgate.home import Home
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import (
    PublicKey,
    certificates_to_pem,
    generate_key,
    private_key_from_pem,
    private_key_to_pem,
    public_key_to_pem,
)
from tests.support.certificates import self_signed
from tests.support.peers import Login

DAY = 86_400.0


def claims(device: str, begins_in: float = 0.0, life: float = 3600.0, audience: str = "lockgate") -> dict[str, Any]:
    """Give the claims of a token that begins `begins_in` seconds from now (or ago)."""
    begins = int(time.time() + begins_in)
    return {"iat": begins, "exp": begins + int(life), "aud": audience, "sub": device}


def signed(key_pem: bytes, said: dict[str, Any]) -> str:
    """Sign claims with ES256, as a device does."""
    return jwt.encode({"alg": "ES256", "typ": "JWT"}, said, ECKey.import_key(key_pem))


def unsigned(said: dict[str, Any]) -> str:
    """Make a token with `alg: none` (RFC 7515 appendix A.5)."""
    return f"{_signing_input('none', said)}."


def signed_by_public_key(key_pem: bytes, said: dict[str, Any]) -> str:
    """Make a token with HS256 whose shared secret is the device's public key (RFC 8725 section 2.1)."""
    public = public_key_to_pem(private_key_from_pem(key_pem).public_key())
    text = _signing_input("HS256", said)
    return f"{text}.{_encoded(hmac.new(public, text.encode(), hashlib.sha256).digest())}"


def new_key_pem() -> bytes:
    """Make a key that nobody knows."""
    return private_key_to_pem(generate_key("ec"))


class CertificateForger:
    """Makes client certificates with the CA of a home, or with one that only looks like it."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._ours = Home(home).authority()
        self._folder = folder

    def ours(self, login: Login, device: str, key: Path | None = None) -> Login:
        """Show a certificate of ours for `device`, for a new key or the one in the file `key`."""
        return self._show(login, self._ours, device, time.time(), 365 * DAY, key)

    def expired(self, login: Login, device: str) -> Login:
        """Show a certificate of ours that ended three days ago."""
        return self._show(login, self._ours, device, time.time() - 10 * DAY, 7 * DAY)

    def future(self, login: Login, device: str) -> Login:
        """Show a certificate of ours that begins in three days."""
        return self._show(login, self._ours, device, time.time() + 3 * DAY, 30 * DAY)

    def foreign(self, login: Login, device: str, *, with_ca: bool = False) -> Login:
        """Show a certificate from another home's CA, which has the same names; `with_ca` shows that CA's too."""
        now = time.time()
        other = Authority.create_root(now=now).create_issuing(now=now)
        return self._show(login, other, device, now, 30 * DAY, with_ca=with_ca)

    def self_signed(self, login: Login, device: str) -> Login:
        """Show a certificate that signed itself."""
        certificate, key = self_signed(device).write(self._folder, f"self-signed-{device}")
        return login.anonymous().but(certificate=certificate, key=key)

    def _show(
        self,
        login: Login,
        authority: Authority,
        device: str,
        begins: float,
        life: float,
        key: Path | None = None,
        *,
        with_ca: bool = True,
    ) -> Login:
        private = private_key_from_pem(key.read_bytes() if key is not None else new_key_pem())
        certificate = _issue(authority, device, private.public_key(), begins, life)
        stem = f"{device}-{certificate.serial_number:x}"
        chain, key_path = self._folder / f"{stem}.pem", self._folder / f"{stem}.key.pem"
        chain.write_bytes(certificates_to_pem(certificate, *([authority.certificate] if with_ca else [])))
        key_path.touch(mode=0o600)
        key_path.write_bytes(private_key_to_pem(private))
        return login.anonymous().but(certificate=chain, key=key_path)


def _issue(authority: Authority, device: str, key: PublicKey, begins: float, life: float) -> x509.Certificate:
    # The authority begins a certificate an hour early; that hour is given back here.
    return authority.issue_device(device, key, now=begins + 3600.0, life_seconds=life)


def _signing_input(algorithm: str, said: dict[str, Any]) -> str:
    return ".".join(_encoded(msgspec.json.encode(part)) for part in ({"alg": algorithm, "typ": "JWT"}, said))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
