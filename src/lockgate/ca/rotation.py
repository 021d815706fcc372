"""Trust that changes while the hub runs: a new issuing CA, an old one retired, foreign ones let in and out.

A rotation makes a new issuing CA under the root. The server's certificate is issued anew by it, the old one's device
certificates stay good, and its key stays to sign its revocation list and OCSP answers, until it is retired. Devices
notice nothing: they check the hub by the root. Live connections stay; each new handshake sees the new chain.

A new root takes two steps, because devices must learn it first. `rotate_root` makes it, and an issuing CA of one key
with two certificates, under the old root and under the new one: devices are given both roots, the hub shows the chain
to the old one. `finish_root` shows the other, once all devices hold the new root.

The root's key signs nothing but issuing CAs, so that it may be kept elsewhere: `export_root_key` encrypts it into a
file and takes it out of the home; rotating then asks for that file and its passphrase.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography import x509

from lockgate.ca.desk import Desk, older_paths
from lockgate.ca.trusted import ID_CHARACTERS, add_foreign, find_foreign, remove_foreign
from lockgate.errors import Conflict, InvalidSettings, NotFound
from lockgate.events import Event
from lockgate.home import Home, write_private
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificate_thumbprint, certificates_from_pem, certificates_to_pem, has_issued
from lockgate.registry.issued import issued
from lockgate.store.certificates import AUTHORITY, Reason, certificates, record, revoke_certificate
from lockgate.store.registry_db import ChangeKind, RegistryDb, RegistryWrite

MIN_PASSPHRASE_CHARACTERS = 12


def read_root(home: Home, key_path: Path | None = None, passphrase: str | None = None) -> Authority:
    """Give the root with its key: from the home, or from the file that `export_root_key` wrote.

    Raises:
        InvalidSettings: the key is not there, or the passphrase does not open it.
    """
    path = key_path or home.root_key_path
    try:
        pem = path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidSettings(
            f"the root's key {path} is not there: it is kept elsewhere", fix="name its file with --root-key FILE"
        ) from error
    password = passphrase.encode() if passphrase is not None else None
    return Authority.from_pem(home.root_pem(), pem, password=password)


def rotate_issuing(desk: Desk, root: Authority, now: float) -> Desk:
    """Make a new issuing CA and have it issue from now on; give the desk that it sits at.

    The old one's files are copied before the new ones take their place, so that whatever stops this half-way leaves
    both to be found.

    Raises:
        Conflict: a new root is on its way.
    """
    if desk.home.next_issuing_path.exists():
        raise Conflict(
            "a new root is on its way to the devices: another issuing CA would be unknown to those that lack it",
            fix="finish that first: lockgate ca rotate --finish-root",
        )
    new = root.create_issuing(f"lockgate issuing CA {secrets.token_hex(2).upper()}", now=now)
    return _take_over(desk, new, root, now)


def rotate_root(desk: Desk, root: Authority, now: float) -> Desk:
    """Make a new root, and an issuing CA that stands under the old one and the new one alike.

    From now on devices are given both roots. The hub goes on showing the chain to the old one, which all of them hold,
    until `finish_root`. The old root's key signs this one last time: it is removed from the home.
    """
    home = desk.home
    if home.next_issuing_path.exists():
        raise Conflict("a new root is on its way already", fix="finish that first: lockgate ca rotate --finish-root")
    mark = secrets.token_hex(2).upper()
    new_root = Authority.create_root(f"lockgate root CA {mark}", now=now)
    by_new = new_root.create_issuing(f"lockgate issuing CA {mark}", now=now)
    by_old = root.certify(by_new, now=now)
    with desk.registry.write() as write:
        record(write, issued(by_new.certificate, new_root.certificate, AUTHORITY, now))
        name = _name(new_root.certificate)
        write.note_audit(Event.ROOT_ADDED, name, desk.actor, now, {"key": new_root.thumbprint})
    write_private(home.next_issuing_path, by_new.certificate_pem())
    write_private(home.root_key_path, new_root.key_pem())
    write_private(home.root_path, new_root.certificate_pem() + root.certificate_pem())
    return _take_over(desk, by_old, root, now)


def finish_root(desk: Desk, now: float) -> Desk:
    """Show the chain to the new root from now on, and give devices no other: all of them must hold it.

    Raises:
        NotFound: no new root is on its way.
    """
    home = desk.home
    if not home.next_issuing_path.exists():
        raise NotFound("no new root is on its way", fix="lockgate ca rotate --root makes one")
    root = certificates_from_pem(home.root_pem())[0]
    write_private(home.issuing_path, home.next_issuing_path.read_bytes())
    home.next_issuing_path.unlink()
    write_private(home.root_path, certificates_to_pem(root))
    successor = Desk(home, desk.registry, desk.actor)
    successor.write_bundle()
    successor.issue_server(home.server_names(), now)
    _note(desk, Event.ROOT_ROTATED, root, now)
    return successor


def _take_over(desk: Desk, new: Authority, root: Authority, now: float) -> Desk:
    home, old = desk.home, desk.issuing
    kept = home.old_authorities_path / f"{old.thumbprint[:ID_CHARACTERS]}.crt"
    write_private(kept.with_suffix(".key"), old.key_pem())
    write_private(kept, old.certificate_pem())
    with desk.registry.write() as write:
        record(write, issued(new.certificate, root.certificate, AUTHORITY, now))
        details = {"new": new.thumbprint, "old": old.thumbprint}
        write.note_audit(Event.AUTHORITY_ROTATED, _name(new.certificate), desk.actor, now, details)
    write_private(home.issuing_key_path, new.key_pem())
    write_private(home.issuing_path, new.certificate_pem())
    successor = Desk(home, desk.registry, desk.actor)
    successor.write_bundle()
    successor.issue_server(home.server_names(), now)
    successor.publish_crls(now)
    return successor


def retire(desk: Desk, beginning: str, now: float, is_forced: bool = False) -> Authority:
    """Stop believing an older issuing CA; give it.

    Args:
        desk: of the home.
        beginning: of the thumbprint of its key.
        now: unix seconds.
        is_forced: revoke what it issued and is still good; otherwise that is a Conflict.

    Raises:
        NotFound: no older CA has that ID.
        Conflict: devices still hold good certificates of it.
    """
    found = [each for each in desk.older if beginning and each.thumbprint.startswith(beginning)]
    if len(found) != 1:
        raise NotFound(f"no single older CA has an ID that begins with {beginning}", fix="lockgate ca show")
    (old,) = found
    revoke_issued(desk, old.certificate, now, is_forced)
    own = [each for each in certificates(desk.registry, AUTHORITY) if each.thumbprint == old.thumbprint]
    with desk.registry.write() as write:
        for each in own:
            revoke_certificate(write, each.issuer, each.serial, Reason.SUPERSEDED, now)
        write.note_audit(Event.AUTHORITY_RETIRED, _name(old.certificate), desk.actor, now, {"key": old.thumbprint})
    for path in older_paths(desk.home):
        if path.stem == old.thumbprint[:ID_CHARACTERS]:
            path.unlink()
            path.with_suffix(".key").unlink(missing_ok=True)
    _publish(desk, now)
    return old


def trust_foreign(desk: Desk, certificate_pem: bytes, crl: bytes | None, now: float) -> x509.Certificate:
    """Believe the certificates of a foreign CA; give it. See `trusted.add_foreign`."""
    certificate = add_foreign(desk.home, certificate_pem, crl, now)
    _note(desk, Event.AUTHORITY_TRUSTED, certificate, now)
    _publish(desk, now)
    return certificate


def distrust_foreign(desk: Desk, beginning: str, now: float, is_forced: bool = False) -> x509.Certificate:
    """Stop believing a foreign CA; give it.

    Raises:
        NotFound: no trusted CA has that ID.
        Conflict: devices are registered with certificates of it, and `is_forced` is not set.
    """
    certificate = find_foreign(desk.home, beginning)
    revoke_issued(desk, certificate, now, is_forced)
    remove_foreign(desk.home, certificate)
    _note(desk, Event.AUTHORITY_DISTRUSTED, certificate, now)
    _publish(desk, now)
    return certificate


def revoke_issued(desk: Desk, authority: x509.Certificate, now: float, is_forced: bool) -> int:
    """Revoke the credentials whose certificates an authority issued; their live sessions end. Give how many.

    Raises:
        Conflict: there are some, and `is_forced` is not set.
    """
    query = (
        "SELECT id, device, public FROM credential WHERE kind = 'x509' AND NOT is_revoked"
        " AND (expires_at IS NULL OR expires_at > ?) ORDER BY id"
    )
    rows = [
        (number, device)
        for number, device, public in desk.registry.query(query, (now,))
        if has_issued(authority, certificates_from_pem(public.encode())[0])
    ]
    if rows and not is_forced:
        some = ", ".join(sorted({device for _, device in rows})[:3])
        raise Conflict(
            f"{len(rows)} credentials rest on certificates of {_name(authority)} that are still good ({some} ...)",
            fix="give those devices new certificates first, or revoke theirs with --force",
        )
    with desk.registry.write() as write:
        for number, device in rows:
            _revoke_credential(write, number, device, desk.actor, now)
    return len(rows)


def export_root_key(desk: Desk, path: Path, passphrase: str, now: float) -> None:
    """Write the root's key, encrypted, to a new file, read it back, and only then remove it from the home.

    Raises:
        InvalidSettings: the passphrase is short, the file is there already, or the key is not in the home.
    """
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise InvalidSettings(
            f"a passphrase for the root's key needs at least {MIN_PASSPHRASE_CHARACTERS} characters",
            fix="take several words that do not belong together",
        )
    root = read_root(desk.home)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be made: {error.strerror}", fix="name a new file") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(root.encrypted_key_pem(passphrase.encode()))
        file.flush()
        os.fsync(file.fileno())
    read_root(desk.home, path, passphrase)
    desk.home.root_key_path.unlink()
    _note(desk, Event.ROOT_KEY_EXPORTED, root.certificate, now)


def rotate_tickets(registry: RegistryDb, actor: str, now: float) -> None:
    """Have a running hub take new ticket keys: tickets given out before fall back to a full handshake."""
    with registry.write() as write:
        write.note_change(ChangeKind.TLS_FILES, "ticket keys")
        write.note_audit(Event.TICKET_KEYS_ROTATED, "ticket keys", actor, now)


def _publish(desk: Desk, now: float) -> None:
    successor = Desk(desk.home, desk.registry, desk.actor)
    successor.write_bundle()
    successor.publish_crls(now)


def _revoke_credential(write: RegistryWrite, number: int, device: str, actor: str, now: float) -> None:
    write.execute("UPDATE credential SET is_revoked = 1 WHERE id = ?", (number,))
    details = {"credential": str(number), "reason": "its CA is no longer trusted"}
    write.note_device(device, Event.DEVICE_REVOKED, actor, now, details)


def _note(desk: Desk, event: Event, certificate: x509.Certificate, now: float) -> None:
    with desk.registry.write() as write:
        details = {"key": certificate_thumbprint(certificate)}
        write.note_audit(event, _name(certificate), desk.actor, now, details)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
