"""Single credentials in registry.db: revoked, ended, and replaced while the old ones still hold for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lockgate.errors import Conflict, NotAuthorized, NotFound, ShutOut, Step
from lockgate.events import Event
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.mosquitto_hash import PREFIX, is_mosquitto_hash
from lockgate.store.registry_db import ChangeKind, RegistryDb, RegistryWrite
from lockgate.store.sqlite import translated


def revoke_credential(db: RegistryDb, number: int, *, actor: str, now: float) -> str:
    """Revoke one credential for good; give the name of its device. Nothing happens when it is revoked.

    Raises:
        NotFound: when there is none of this number.
    """
    with db.write() as write:
        device = _device_of(write, number)
        if write.execute("UPDATE credential SET is_revoked = 1 WHERE id = ? AND is_revoked = 0", (number,)).rowcount:
            write.note_device(device, Event.CREDENTIAL_REVOKED, actor, now, {"credential": str(number)})
    return device


def expire_credential(db: RegistryDb, number: int, end_at: float, *, actor: str, now: float) -> str:
    """Let one credential end at a unix second, earlier than it would; give the name of its device.

    Raises:
        NotFound: when there is none of this number.
        Conflict: when it ends as early already, or was revoked.
    """
    with db.write() as write:
        device = _device_of(write, number)
        done = write.execute(
            "UPDATE credential SET expires_at = ?1 WHERE id = ?2 AND is_revoked = 0"
            " AND (expires_at IS NULL OR expires_at > ?1)",
            (end_at, number),
        )
        if not done.rowcount:
            raise Conflict(
                f"the credential {number} of {device} was revoked, or ends as early as that already",
                fix=f"who shall come in for longer needs a new one: lockgate credential add {device} --auth KIND",
            )
        note = {"credential": str(number), "at": f"{end_at:.0f}"}
        write.note_device(device, Event.CREDENTIAL_EXPIRES, actor, now, note)
    return device


def rotate_credential(
    db: RegistryDb, credential: Credential, old_end_at: float, *, actor: str, now: float
) -> tuple[Credential, int]:
    """Give a device a new credential, and let all that it had hold until `old_end_at` at most.

    Returns:
        The new credential with its number, and how many older ones end.

    Raises:
        NotFound: when there is no such device.
        Conflict: when the key is registered to another device, or was revoked.
    """
    with db.write() as write:
        write.require_device(credential.device)
        ending = write.execute(
            "UPDATE credential SET expires_at = ?1 WHERE device = ?2 AND is_revoked = 0"
            " AND (expires_at IS NULL OR expires_at > ?1)",
            (old_end_at, credential.device),
        ).rowcount
        number = write.insert_credential(credential)
        details = {"credential": str(number), "kind": str(credential.kind), "key": credential.thumbprint}
        write.note_device(credential.device, Event.CREDENTIAL_ADDED, actor, now, details)
        if ending:
            note = {"credentials": str(ending), "at": f"{old_end_at:.0f}"}
            write.note_audit(Event.CREDENTIAL_EXPIRES, credential.device, actor, now, note)
    return msgspec.structs.replace(credential, id=number), ending


def renew_credential(
    db: RegistryDb, credential: Credential, follows: str, own_end_at: float, *, actor: str, now: float
) -> Credential:
    """Give a device one more credential by right of one that it has; give it back with its number.

    The right is looked at in the transaction that uses it: who was revoked a moment before the new credential is
    written gets none, however long ago the request began.

    Args:
        db: registry.db.
        credential: the new one.
        follows: the thumbprint of the one that was shown.
        own_end_at: the unix second at which that one ends by itself.
        actor: who asked for it.
        now: unix seconds.

    Raises:
        NotFound: when there is no such device.
        ShutOut: when what was shown was revoked, or is the device's no longer.
        NotAuthorized: when what was shown was told to end earlier than by itself: another takes its place.
        Conflict: when the new key is registered to another device, or was revoked.
    """
    device = credential.device
    with db.write() as write:
        write.require_device(device)
        row = write.execute(
            "SELECT is_revoked, expires_at FROM credential WHERE device = ? AND thumbprint = ? AND thumbprint != ''",
            (device, follows),
        ).fetchone()
        evidence = {"device": device, "key": follows}
        if row is None or row[0]:
            raise ShutOut(
                f"{device} asked for a new credential by one that was revoked meanwhile",
                reason="credential revoked",
                fix=f"lockgate device rotate {device} --out DIR gives it a new key",
                step=Step.CREDENTIAL,
                evidence=evidence,
            )
        if row[1] is not None and row[1] < own_end_at:
            raise NotAuthorized(
                f"{device} asked for a new credential by one that was told to end early, and would outlive its end",
                reason="credential is being replaced",
                fix="renew the certificate that took its place; lockgate credential list shows which that is",
                step=Step.CREDENTIAL,
                evidence=evidence,
            )
        number = write.insert_credential(credential)
        details = {"credential": str(number), "kind": str(credential.kind), "key": credential.thumbprint}
        write.note_device(device, Event.CREDENTIAL_ADDED, actor, now, {**details, "follows": follows})
    return msgspec.structs.replace(credential, id=number)


def mosquitto_credentials(db: RegistryDb, among: Iterable[int]) -> set[int]:
    """Give those of some credentials, by number, that are kept as mosquitto's hashes."""
    query = "SELECT id FROM credential WHERE id IN (SELECT value FROM json_each(?)) AND public LIKE ?"
    return {int(number) for (number,) in db.query(query, (msgspec.json.encode(list(among)).decode(), f"{PREFIX}%"))}


def replace_hashes(db: RegistryDb, hashes: Mapping[int, str], *, actor: str, now: float) -> int:
    """Put argon2id hashes in the place of those that came from mosquitto; give how many.

    A hash of any other form stays: whoever hands a new one over can never change a password that is ours.
    """
    done = 0
    with db.write() as write:
        for number, text in hashes.items():
            row = write.execute("SELECT device, public FROM credential WHERE id = ?", (number,)).fetchone()
            if row is None or not is_mosquitto_hash(row[1]) or not text.startswith("$argon2id$"):
                continue
            write.execute("UPDATE credential SET public = ? WHERE id = ?", (text, number))
            write.note_device(row[0], Event.CREDENTIAL_REHASHED, actor, now, {"credential": str(number)})
            done += 1
    return done


def replace_sealed(db: RegistryDb, sealed: Mapping[int, str], event: Event, *, actor: str, now: float) -> None:
    """Put secrets that were sealed anew in the place of the older seals, by number; one record tells of all."""
    with db.write() as write:
        devices: dict[str, None] = {}
        for number, text in sealed.items():
            devices[_device_of(write, number)] = None
            write.execute("UPDATE credential SET public = ? WHERE id = ?", (text, number))
        for device in devices:
            write.note_change(ChangeKind.DEVICE, device)
        write.note_audit(event, "secrets.key", actor, now, {"credentials": str(len(sealed))})


def _device_of(write: RegistryWrite, number: int) -> str:
    row = write.execute("SELECT device FROM credential WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise NotFound(
            f"there is no credential {number}", fix="lockgate credential list shows all of them with their numbers"
        )
    return str(row[0])


def credentials_after(db: RegistryDb, number: int, kinds: Sequence[CredentialKind]) -> list[Credential]:
    """Give the credentials of some kinds with higher numbers than one, in their order."""
    query = (
        "SELECT id, device, kind, public, thumbprint, created_at, expires_at, is_revoked FROM credential"
        " WHERE id > ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY id"
    )
    with translated(db.path):
        rows = db.query(query, (number, msgspec.json.encode(kinds).decode()))
        return [
            Credential(one, device, CredentialKind(kind), public, thumbprint, created_at, expires_at, bool(is_revoked))
            for one, device, kind, public, thumbprint, created_at, expires_at, is_revoked in rows
        ]


def taken_thumbprints(db: RegistryDb, thumbprints: Sequence[str]) -> set[str]:
    """Give those of some thumbprints that a registered credential has."""
    query = (
        "SELECT thumbprint FROM credential WHERE thumbprint <> '' AND thumbprint IN (SELECT value FROM json_each(?))"
    )
    with translated(db.path):
        return {found for (found,) in db.query(query, (msgspec.json.encode(thumbprints).decode(),))}
