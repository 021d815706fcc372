"""Enrolment: a device that shows a claim token gets its first certificate, one that shows a certificate the next.

Who may do what: a claim makes devices whose names fit its pattern; one that is made for a single name also gives that
device, should it exist already, one more credential. A certificate renews itself: same name, a key of the device's
choice, beside the old one, so that both are good while the device changes over. All this blocks: it belongs into a
worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID

from lockgate.errors import Conflict, InvalidSettings, LockgateError, NotAuthorized, RateExceeded, Step
from lockgate.identity.lockout import Lockout
from lockgate.model.device import Credential, CredentialKind, check_name
from lockgate.pki.certificates import (
    DEVICE_URN,
    certificate_thumbprint,
    certificates_from_pem,
    certificates_to_pem,
    spki_thumbprint,
)
from lockgate.provision.bundle import NewCredential
from lockgate.provision.est import request_key
from lockgate.registry.registrar import Registrar
from lockgate.store import claims
from lockgate.store.registry_db import RegistryDb

LOCKOUT_NAME = "claim token"


class Issuer(Protocol):
    """What signs certificates, and writes down each before it gives it."""

    def issue_device_for_request(
        self, name: str, request: x509.CertificateSigningRequest, *, now: float
    ) -> x509.Certificate:
        """Give a client certificate for the device `name` and the key of the request."""
        ...


class Enrolment:
    """The office's desk for devices that come for a certificate.

    Args:
        database: registry.db, open for writing.
        issuer: gives the authority that signs now.
        lockout: counts wrong tokens by address.
        registrar: makes the registrar that acts for somebody (as the audit trail shall name them).
    """

    def __init__(
        self,
        database: RegistryDb,
        issuer: Callable[[], Issuer],
        lockout: Lockout,
        registrar: Callable[[str], Registrar],
    ) -> None:
        self._database = database
        self._issuer = issuer
        self._lockout = lockout
        self._registrar = registrar

    def by_claim(
        self, name: str, token: str, request: x509.CertificateSigningRequest, host: str, now: float
    ) -> x509.Certificate:
        """Give the certificate of a device that a claim token makes.

        Args:
            name: the name that the device wants (HTTP's user name).
            token: the claim token (HTTP's password).
            request: checked already, proof of possession included.
            host: the peer's address.
            now: unix seconds.

        Raises:
            AuthenticationFailed: the token is wrong, expired, revoked or used up.
            NotAuthorized: it is for other names.
            Conflict: there is such a device, and the token was not made for it alone; or its key is another's.
            RateExceeded: too many wrong tokens came from there.
            InvalidSettings: the name is none, or the request asks for another.
        """
        claim = self._prove(token, host, now)
        try:
            check_name(name)
        except InvalidSettings as error:
            raise InvalidSettings(
                str(error), reason="name not valid", fix="choose another name for the device", step=Step.CREDENTIAL
            ) from error
        if not claim.covers(name):
            raise NotAuthorized(
                f"the claim {claim.id} is for {claim.pattern}, and {name} came with it",
                reason="claim token is for other names",
                fix=f"lockgate claim add --name-pattern {name}",
                step=Step.CREDENTIAL,
                evidence={"claim": claim.id, "pattern": claim.pattern, "device": name},
            )
        check_asked_name(request, name)
        known = self._database.device(name)
        if known is not None:
            again = self._given_before(claim, known.credentials, request, now)
            if again is not None:
                return again
            if not claim.is_exact:
                raise Conflict(
                    f"{name} is registered already, and the claim {claim.id} makes new devices ({claim.pattern})",
                    reason="device exists already",
                    step=Step.CREDENTIAL,
                    fix=f"make a claim for it alone: lockgate claim add --name-pattern {name}",
                    evidence={"claim": claim.id, "device": name},
                )
        elif claims.has_made(self._database, claim.id, name):
            raise Conflict(
                f"the claim {claim.id} made {name} already, and that device was removed since",
                reason="device was removed",
                step=Step.CREDENTIAL,
                fix=f"make another claim: lockgate claim add --name-pattern {name}",
                evidence={"claim": claim.id, "device": name},
            )
        if claim.state(now) != "good":
            raise claims.refusal(claim, now)
        number = claims.spend(self._database, claim.id, name, host, now)
        try:
            registrar = self._registrar(f"claim {claim.id}")
            if known is not None:
                registrar.check_room(name)
            leaf = self._issuer().issue_device_for_request(name, request, now=now)
            if known is None:
                registrar.add_device(name, [_credential(leaf)], claim.groups)
            else:
                registrar.add_credential(name, _credential(leaf), lambda write: claims.check_stands(write, claim.id))
        except BaseException:
            claims.give_back(self._database, claim.id, number)
            raise
        return leaf

    def by_certificate(
        self, name: str, shown: x509.Certificate, request: x509.CertificateSigningRequest, now: float
    ) -> x509.Certificate:
        """Give the next certificate of a device that has proven itself by `shown`.

        Raises:
            InvalidSettings: the request asks for another name than the certificate has (RFC 7030 section 4.2.2).
            Conflict: its key is another device's, or was revoked.
            QuotaExceeded: it has as many credentials as it may.
            ShutOut: it was revoked since it has proven itself.
            NotAuthorized: `shown` was told to end early, because another took its place.
        """
        check_asked_name(request, name)
        asked = _alternative_names(request)
        if asked is not None and asked != _alternative_names(shown):
            raise _other_name(name, "the alternative names in the request are not those of the certificate")
        registrar = self._registrar(f"{name} (device)")
        registrar.check_room(name)
        leaf = self._issuer().issue_device_for_request(name, request, now=now)
        registrar.renew_credential(
            name, _credential(leaf), certificate_thumbprint(shown), shown.not_valid_after_utc.timestamp()
        )
        return leaf

    def _prove(self, token: str, host: str, now: float) -> claims.Claim:
        try:
            self._lockout.check(host, LOCKOUT_NAME, now)
        except RateExceeded as error:
            raise RateExceeded(
                f"too many wrong claim tokens came from {host}", reason="too many wrong claim tokens",
                fix="wait a minute, then use a token of: lockgate claim add", step=Step.CREDENTIAL,
                evidence=error.evidence,
            ) from error  # fmt: skip
        try:
            claim = claims.prove(self._database, token)
        except LockgateError:
            self._lockout.count_wrong(host, LOCKOUT_NAME, now)
            raise
        self._lockout.forget(host, LOCKOUT_NAME)
        return claim

    def _given_before(
        self,
        claim: claims.Claim,
        credentials: Sequence[Credential],
        request: x509.CertificateSigningRequest,
        now: float,
    ) -> x509.Certificate | None:
        """Give the certificate that the same claim gave for the same key: its answer may have been lost on the way."""
        thumbprint = spki_thumbprint(request_key(request))
        for credential in credentials:
            is_good = not credential.is_revoked and (credential.expires_at is None or credential.expires_at > now)
            if credential.kind is CredentialKind.X509 and credential.thumbprint == thumbprint and is_good:
                if claim.is_revoked or not claims.has_made(self._database, claim.id, credential.device):
                    return None
                return certificates_from_pem(credential.public.encode())[0]
        return None


def check_asked_name(request: x509.CertificateSigningRequest, name: str) -> None:
    """Come back unless the request names somebody else than `name`; one that names nobody is fine.

    Raises:
        InvalidSettings: it does.
    """
    for attribute in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if attribute.value != name:
            raise _other_name(name, f"the request is for {attribute.value!r}")
    alternatives = _alternative_names(request)
    if alternatives is not None:
        uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier)
        if any(uri.startswith(DEVICE_URN) and uri != DEVICE_URN + name for uri in uris):
            raise _other_name(name, f"the request is for {', '.join(uris)}")


def _other_name(name: str, what: str) -> InvalidSettings:
    return InvalidSettings(
        f"{what[:200]}, but {name} is who sent it", reason="certificate request names another device",
        fix=f"make the request with -subj /CN={name}", step=Step.CREDENTIAL, evidence={"device": name},
    )  # fmt: skip


def _alternative_names(
    of: x509.CertificateSigningRequest | x509.Certificate,
) -> x509.SubjectAlternativeName | None:
    try:
        return of.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError) as error:
        raise InvalidSettings(
            "the certificate request's extensions cannot be read", reason="certificate request not usable",
            fix="leave out the extensions: the hub writes its own",
        ) from error  # fmt: skip


def _credential(leaf: x509.Certificate) -> NewCredential:
    pem = certificates_to_pem(leaf).decode()
    return NewCredential(CredentialKind.X509, pem, leaf.not_valid_after_utc.timestamp())
