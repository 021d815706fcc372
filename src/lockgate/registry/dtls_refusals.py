"""Why a peer did not get through DTLS, with what the registry knows about it: revoked, of another kind, mistyped.

The words of the handshake itself are `net.dtls_failures`'. An identity that no device has is shown cut short: whoever
mixes up two options of a client sends the key in its place, and a journal is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lockgate.errors import InvalidSettings, LockgateError
from lockgate.model.device import Credential, CredentialKind, Device, check_name
from lockgate.model.handles import psk_handle
from lockgate.net.dtls import DtlsFailure, DtlsReason
from lockgate.net.failures import certificate_facts
from lockgate.pki.certificates import device_name_of
from lockgate.registry.shared_secrets import shown_identity


class Devices(Protocol):
    """What this room needs of the registry."""

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        ...

    def credential_by_thumbprint(self, thumbprint: str, /) -> Credential | None:
        """Find a credential by thumbprint or handle."""
        ...


def explain(failure: DtlsFailure, devices: Devices | None) -> tuple[LockgateError, str]:
    """Give a failed handshake as an error with what would mend it, and the device that the peer claims to be or "".

    Args:
        failure: what the handshake says.
        devices: the registry, where there is one at hand.
    """
    device, message, fix = "", failure.message, failure.fix
    evidence = dict(failure.evidence)
    if failure.reason is DtlsReason.UNKNOWN_IDENTITY:
        device, message, fix = _unknown_identity(failure.identity, devices)
        evidence["PSK identity"] = shown_identity(failure.identity) if not device else failure.identity
    elif failure.reason is DtlsReason.WRONG_KEY:
        device = failure.identity.partition("/")[0]
        fix = f"Give the device the key of its folder again, or a new one: lockgate device rotate {device} --out DIR"
    elif failure.reason is DtlsReason.UNKNOWN_RAW_KEY and devices is not None:
        device, message, fix = _unknown_key(failure, devices)
    elif failure.certificate is not None:
        device = device_name_of(failure.certificate) or ""
        facts = certificate_facts(failure.certificate)
        evidence.update({f"{name} (unverified)": text for name, text in facts.items()})
    error = LockgateError(message, reason=failure.reason, fix=fix, step=failure.step, evidence=evidence)
    return error, device


def _unknown_identity(identity: str, devices: Devices | None) -> tuple[str, str, str]:
    credential = devices.credential_by_thumbprint(psk_handle(identity)) if devices is not None else None
    if credential is not None:
        name = credential.device
        if credential.is_revoked:
            return name, f"the pre-shared key of {identity} was revoked", f"lockgate device rotate {name} --out DIR"
        return (
            name,
            f"the pre-shared key of {identity} is registered, but cannot be opened: the log says why",
            "restore secrets.key from a backup, or give the device a new key: "
            f"lockgate device rotate {name} --auth psk --out DIR",
        )
    known = _device_of(identity, devices)
    if known is None:
        return (
            "",
            f"no device has the pre-shared key identity {shown_identity(identity)!r}",
            "use the identity that the device's folder names (psk_identity in device.json): the device's name as it is "
            "registered, in the same letters; or register it: lockgate device add NAME --auth psk --out DIR",
        )
    identities = [each for each in _identities(known.credentials) if each != identity]
    if identities:
        return (
            known.name,
            f"{known.name} has a pre-shared key, under another identity than {identity!r}",
            f"use the identity {' or '.join(identities)}, with the key of the same folder",
        )
    kinds = dict.fromkeys(c.kind.value for c in known.credentials if not c.is_revoked)
    return (
        known.name,
        f"{known.name} is registered, but has no pre-shared key that holds; it proves itself by "
        f"{', '.join(kinds) or 'nothing any more'}",
        f"lockgate credential add {known.name} --auth psk --out DIR",
    )


def _unknown_key(failure: DtlsFailure, devices: Devices) -> tuple[str, str, str]:
    credential = devices.credential_by_thumbprint(failure.fingerprint)
    if credential is None:
        return "", failure.message, failure.fix
    name = credential.device
    if credential.is_revoked:
        return name, f"the raw public key of {name} was revoked", f"lockgate device rotate {name} --auth rpk --out DIR"
    return (
        name,
        f"the key is registered to {name}, for {credential.kind.value} and not as a raw public key",
        f"lockgate credential add {name} --auth rpk --public-key FILE",
    )


def _device_of(identity: str, devices: Devices | None) -> Device | None:
    """Give the device that an identity means: by its name, or by that in other letters."""
    name = identity.partition("/")[0].strip()
    try:
        check_name(name)
    except InvalidSettings:
        return None
    if devices is None:
        return None
    return devices.device(name) or devices.device(name.lower())


def _identities(credentials: Sequence[Credential]) -> list[str]:
    return [
        credential.thumbprint.removeprefix(psk_handle(""))
        for credential in credentials
        if credential.kind is CredentialKind.PSK and not credential.is_revoked
    ]
