"""The CA's desk: the one place that signs with a key of the home, and writes down what it signed.

The office and the command line sit here. What is due at a given time (a server certificate at two thirds of its life, a
revocation list or a stapled answer at half of theirs, or at once when something was revoked) `refresh` does; call it
every few seconds. The files that it writes are for the gate, which hears of each by the change log.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec
from cryptography import x509

from lockgate.ca.trusted import foreign_authorities, foreign_crls
from lockgate.errors import InvalidSettings, Unavailable
from lockgate.events import Event
from lockgate.home import Home, write_private
from lockgate.net.staple import Staple
from lockgate.pki.authority import DEVICE_LIFE_SECONDS, Authority
from lockgate.pki.certificates import (
    PublicKey,
    certificates_from_pem,
    certificates_to_pem,
    check_public_key,
    has_issued,
)
from lockgate.pki.revocation import (
    CRL_LIFE_SECONDS,
    OCSP_LIFE_SECONDS,
    Known,
    RevokedCertificate,
    answer_ocsp,
    build_crl,
    crl_to_der,
    crls_to_pem,
    make_staple,
)
from lockgate.registry.fleet import Fleet
from lockgate.registry.issued import issued
from lockgate.store.certificates import (
    begin_list,
    certificate,
    has_unlisted,
    latest_list,
    record,
    revoked_by,
)
from lockgate.store.registry_db import ChangeKind, RegistryDb, RegistryWrite

RENEW_AT = 2 / 3
"""The part of a certificate's life after which it is renewed."""
REFRESH_AT = 1 / 2
"""The part of the life of a list or an answer after which the next one is made."""


class Desk:
    """The authorities of a home, with their keys.

    Args:
        home: the hub's folder.
        registry: its registry.db, open for writing.
        actor: who acts, as the audit trail shall name them.

    Raises:
        InvalidSettings: a certificate or key of an authority cannot be read.
    """

    def __init__(self, home: Home, registry: RegistryDb, actor: str) -> None:
        self.home = home
        self.registry = registry
        self.actor = actor
        self._fleet = Fleet(registry)
        self.issuing = home.authority()
        self.older = tuple(_read_older(path) for path in older_paths(home))

    @property
    def all(self) -> tuple[Authority, ...]:
        """The authorities that issued what may still be in use: the one that issues now first."""
        return (self.issuing, *self.older)

    # Issuing

    def issue_device(
        self,
        name: str,
        public_key: PublicKey,
        *,
        now: float,
        life_seconds: float = DEVICE_LIFE_SECONDS,
        write: RegistryWrite | None = None,
    ) -> x509.Certificate:
        """Give a client certificate that speaks for the device `name`; see `Authority.issue_device`.

        The key is checked before: what the registry would refuse afterwards gets no certificate, which would stay good.
        `write` is the caller's open transaction, in which it is recorded: for many at once, or none of them.
        """
        self._fleet.check_key(name, public_key)
        leaf = self.issuing.issue_device(name, public_key, now=now, life_seconds=life_seconds)
        return self._recorded(leaf, f"device:{name}", now, write)

    def issue_device_for_request(
        self,
        name: str,
        request: x509.CertificateSigningRequest,
        *,
        now: float,
        life_seconds: float = DEVICE_LIFE_SECONDS,
    ) -> x509.Certificate:
        """Give a client certificate for the key of a request; see `Authority.issue_device_for_request`."""
        self._fleet.check_key(name, check_public_key(request.public_key()))
        leaf = self.issuing.issue_device_for_request(name, request, now=now, life_seconds=life_seconds)
        return self._recorded(leaf, f"device:{name}", now)

    def chain_pem(self, leaf: x509.Certificate) -> bytes:
        """Give a certificate of the current authority as its device shows it: followed by the authority's."""
        return self.issuing.chain_pem(leaf)

    def issue_server(self, names: Sequence[str], now: float) -> tuple[str, ...]:
        """Make a new server key and certificate for `names`; a running hub takes it up by itself."""
        covered = self.home.issue_server_certificate(names, now, self.actor)
        self.write_staple(now)
        return covered

    def _recorded(
        self, leaf: x509.Certificate, subject: str, now: float, write: RegistryWrite | None = None
    ) -> x509.Certificate:
        with nullcontext(write) if write is not None else self.registry.write() as opened:
            record(opened, issued(leaf, self.issuing.certificate, subject, now))
            details = {"serial": f"{leaf.serial_number:x}"}
            opened.note_audit(Event.CERTIFICATE_ISSUED, subject, self.actor, now, details)
        return leaf

    # What is told to others

    def lookup(self, issuer: str, serial: int) -> RevokedCertificate | Known:
        """Say what the registry knows of a certificate."""
        found = certificate(self.registry, issuer, serial)
        if found is None:
            return Known.UNKNOWN
        if found.revoked_at is not None:
            return RevokedCertificate(serial, found.revoked_at, found.reason, found.expires_at)
        return Known.GOOD

    def answer_ocsp(self, request_der: bytes, now: float) -> bytes:
        """Answer an OCSP request; see `pki.revocation.answer_ocsp`."""
        return answer_ocsp(request_der, self.all, self.lookup, now)

    def publish_crls(self, now: float, life_seconds: float = CRL_LIFE_SECONDS) -> bytes:
        """Make each authority's next revocation list, and write them for the gate; give them as PEM."""
        self.adopt(now)
        with self.registry.write() as write:
            lists = []
            for authority in self.all:
                number = begin_list(write, authority.thumbprint, now, now + life_seconds)
                rows = revoked_by(self.registry, authority.thumbprint, now - life_seconds)
                revoked = [RevokedCertificate(r.serial, r.revoked_at or now, r.reason, r.expires_at) for r in rows]
                lists.append(build_crl(authority, revoked, number, now, life_seconds))
                name = authority.certificate.subject.rfc4514_string()
                details = {"number": str(number), "revoked": str(len(revoked))}
                write.note_audit(Event.REVOCATION_LIST_PUBLISHED, name, self.actor, now, details)
            pem = crls_to_pem((*lists, *foreign_crls(self.home)))
            # Within the transaction: of two that publish at once, the later number is the later file.
            write_private(self.home.crl_path, pem)
            write.note_change(ChangeKind.TLS_FILES, "ca/crl.pem")
        return pem

    def crl_der(self, issuer: str) -> bytes | None:
        """Give the published list of the authority with this thumbprint as DER, None when there is none."""
        names = {each.thumbprint: each.certificate.subject for each in self.all}
        for each in read_crls(self.home.crl_path):
            if each.issuer == names.get(issuer):
                return crl_to_der(each)
        return None

    def write_staple(self, now: float, life_seconds: float = OCSP_LIFE_SECONDS) -> bytes:
        """Write the OCSP answer about the server certificate for the gate to staple; give it."""
        leaf = self._server_certificate()
        authority = next((each for each in self.all if has_issued(each.certificate, leaf)), None)
        if authority is None:
            raise Unavailable("the server certificate is of another CA: nothing can be stapled to it")
        der = make_staple(authority, leaf, self.lookup(authority.thumbprint, leaf.serial_number), now, life_seconds)
        write_private(self.home.staple_path, der)
        with self.registry.write() as write:
            write.note_change(ChangeKind.STAPLE, "run/server.ocsp")
        return der

    def write_bundle(self) -> None:
        """Write the CAs that clients may use: the issuing one, older ones, and foreign ones that are trusted.

        The root is not among them: it would let in what a retired authority issued.
        """
        own = [each.certificate for each in self.all]
        write_private(self.home.bundle_path, certificates_to_pem(*own, *foreign_authorities(self.home)))

    # What is due

    def refresh(self, now: float) -> tuple[str, ...]:
        """Do what is due, and say what it was; the caller comes again in a few seconds."""
        done = []
        if self.is_server_certificate_due(now):
            self.issue_server(self.home.server_names(), now)
            done.append("server certificate renewed")
        if self.is_crl_due(now):
            self.publish_crls(now)
            done.append("revocation list published")
        if self.is_staple_due(now):
            self.write_staple(now)
            done.append("stapled answer renewed")
        return tuple(done)

    def is_server_certificate_due(self, now: float) -> bool:
        """Say whether two thirds of the server certificate's life are over; one of another CA is not ours to renew."""
        leaf = self._server_certificate()
        if not any(has_issued(each.certificate, leaf) for each in self.all):
            return False
        return now >= _moment(leaf, RENEW_AT)

    def is_crl_due(self, now: float) -> bool:
        """Say whether a list is missing, half of its life is over, or something was revoked that none names."""
        if not self.home.crl_path.exists():
            return True
        for each in self.all:
            latest = latest_list(self.registry, each.thumbprint)
            if latest is None or has_unlisted(self.registry, each.thumbprint):
                return True
            if now >= latest.made_at + (latest.next_update - latest.made_at) * REFRESH_AT:
                return True
        return False

    def is_staple_due(self, now: float) -> bool:
        """Say whether the stapled answer is missing, about another certificate, or half of its life is over."""
        leaf = self._server_certificate()
        if not any(has_issued(each.certificate, leaf) for each in self.all):
            return False
        staple = Staple(self.home.staple_path)
        try:
            staple.reload()
        except InvalidSettings:
            return True
        ends_at = staple.ends_at(leaf.serial_number)
        return ends_at is None or now >= ends_at - OCSP_LIFE_SECONDS * REFRESH_AT

    def adopt(self, now: float) -> int:
        """Record certificates of ours that devices hold and no record names: those of an earlier release."""
        query = (
            "SELECT device, public, created_at, is_revoked FROM credential WHERE kind = 'x509' AND NOT EXISTS"
            " (SELECT 1 FROM certificate WHERE certificate.thumbprint = credential.thumbprint)"
        )
        found = []
        for device, public, created_at, is_revoked in self.registry.query(query):
            leaf = certificates_from_pem(public.encode())[0]
            for each in self.all:
                if has_issued(each.certificate, leaf):
                    one = issued(leaf, each.certificate, f"device:{device}", created_at)
                    found.append(msgspec.structs.replace(one, revoked_at=now if is_revoked else None))
        if found:
            with self.registry.write() as write:
                for one in found:
                    record(write, one)
        return len(found)

    def _server_certificate(self) -> x509.Certificate:
        return certificates_from_pem(self.home.server_path.read_bytes())[0]


def publish_revoked(home: Home, registry: RegistryDb, actor: str, now: float) -> None:
    """Publish what was just revoked, where the CA's key may be read here; elsewhere the office does it."""
    if has_unlisted(registry) and os.access(home.issuing_key_path, os.R_OK):
        desk = Desk(home, registry, actor)
        if any(has_unlisted(registry, each.thumbprint) for each in desk.all):
            desk.publish_crls(now)


def older_paths(home: Home) -> list[Path]:
    """Give the certificate files of the authorities that issued before the current one."""
    return sorted(home.old_authorities_path.glob("*.crt"))


def read_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """Read the revocation lists of a PEM file; none where there is no file."""
    end = b"-----END X509 CRL-----"
    try:
        parts = path.read_bytes().split(end)
    except FileNotFoundError:
        return []
    return [x509.load_pem_x509_crl(part + end) for part in parts if part.strip()]


def _read_older(path: Path) -> Authority:
    try:
        return Authority.from_pem(path.read_bytes(), path.with_suffix(".key").read_bytes())
    except OSError as error:
        raise InvalidSettings(f"an older CA cannot be read: {error}", fix=f"restore {path.parent}") from error


def _moment(leaf: x509.Certificate, part: float) -> float:
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    return begin + (end - begin) * part
