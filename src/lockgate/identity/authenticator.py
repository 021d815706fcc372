"""The one question asked of every peer: who are you? Every door asks it here.

The order of the checks is the order of the answers: first the proof (certificate, token or password), then the client
id, then whether the device is blocked. Nobody learns from a refusal more than it has proven.
"""

from __future__ import annotations

import secrets

from mypy_extensions import mypyc_attr

from lockgate.errors import AuthenticationFailed, LockgateError, NotAuthorized, ProofExpired, ShutOut, Step
from lockgate.identity.credentials import Credentials, DeviceSource, Proof, shown_name
from lockgate.identity.exchange import JWT, METHODS, Exchange, Prover, TokenProver
from lockgate.identity.jwt import TokenVerifier, looks_like_token
from lockgate.identity.lockout import Lockout
from lockgate.identity.nosec import verify_address
from lockgate.identity.oscore import verify_context
from lockgate.identity.password import PasswordVerifier
from lockgate.identity.psk import verify_identity
from lockgate.identity.rpk import verify_raw_key
from lockgate.identity.scram import ScramProvers
from lockgate.identity.x509 import verify_certificate
from lockgate.model.device import Credential, Device, owns_client_id
from lockgate.model.principal import Principal
from lockgate.settings import IdentitySettings

MAX_CLIENT_ID = 256
"""The hub remembers client ids in many places: devices choose them, and could fill the memory with long ones."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Authenticator:
    """Turns credentials into a principal, or says why not. May be called from several threads."""

    def __init__(self, devices: DeviceSource, settings: IdentitySettings) -> None:
        self._devices = devices
        lockout = Lockout(devices, settings)  # one count, however a password is shown
        self._tokens = TokenVerifier(devices, settings)
        self._passwords = PasswordVerifier(devices, lockout)
        self._scram = ScramProvers(devices, lockout)

    def is_slow(self, credentials: Credentials) -> bool:
        """Say whether the check takes tens of milliseconds (a password hash), so that it belongs in a worker thread."""
        return (
            credentials.certificate is None
            and credentials.secret is not None
            and not looks_like_token(credentials.secret)
        )

    def authenticate(self, credentials: Credentials, now: float) -> Principal:
        """Give the principal that the credentials prove.

        Args:
            credentials: what the peer showed.
            now: unix seconds.

        Raises:
            AuthenticationFailed: the credentials prove nobody.
            NotAuthorized: they do, but not for this client id, or the device is blocked.
        """
        return self._admit(credentials.client_id, self._prove(credentials, now), now, credentials.suffix)

    def begin(self, credentials: Credentials, method: str) -> Exchange:
        """Begin an enhanced authentication; who it proves is bound to the client id of `credentials`.

        Args:
            credentials: where the peer is and which client id it asks for; a secret in it counts for nothing here.
            method: one of `METHODS`.

        Raises:
            AuthenticationFailed: the method is none of ours, or the connection is not encrypted.
        """
        if method not in METHODS:
            raise AuthenticationFailed(
                f"client id {credentials.client_id!r} asked for an authentication method that this hub does not offer",
                reason="authentication method not offered",
                fix=f"use {' or '.join(sorted(METHODS))}, or none",
            )
        _check_protected(credentials)
        client_id = credentials.client_id
        prover: Prover = TokenProver(self._tokens, client_id) if method == JWT else self._scram.prover(credentials)
        return Exchange(method, prover, lambda proof, now: self._admit(client_id, proof, now))

    def verdict(self, principal: Principal, now: float) -> LockgateError | None:
        """Say why a principal that was proven before no longer holds, or None when it does."""
        device = self._devices.device(principal.device)
        if device is None:
            return _unknown(principal.device)
        for credential in device.credentials:
            if credential.id == principal.credential_id:
                return standing(device, credential, now)
        return _revoked(device.name)

    def take_rehashed(self) -> dict[int, str]:
        """Give better hashes of passwords that were shown, by credential: somebody who may write shall keep them."""
        return self._passwords.take_rehashed()

    def shown_name(self, user_name: str) -> str:
        """Give a user name as it may be logged: it may be a secret in the wrong field."""
        return shown_name(user_name, self._devices)

    def _admit(self, client_id: str, proof: Proof, now: float, suffix: str = "") -> Principal:
        """Give the principal of somebody proven, if the client id is its own and nothing else is in the way."""
        credential, ends_at = proof
        device = self._devices.device(credential.device)
        if device is None:
            raise _unknown(credential.device)
        _check_client_id(device, client_id)
        principal = Principal(
            device=device.name,
            client_id=client_id or f"{device.name}/{suffix or f'auto-{secrets.token_hex(8)}'}",
            auth=credential.kind.value,
            credential_id=credential.id,
            expires_at=_earlier(ends_at, credential.expires_at),
        )
        problem = self.verdict(principal, now)  # as the registry is now: a proof in rounds takes its time
        if problem is not None:
            raise problem
        return principal

    def _prove(self, credentials: Credentials, now: float) -> Proof:
        if credentials.certificate is not None:
            return verify_certificate(self._devices, credentials.certificate)
        if credentials.raw_public_key is not None:
            return verify_raw_key(self._devices, credentials.raw_public_key), None
        if credentials.psk_identity is not None:
            return verify_identity(self._devices, credentials.psk_identity), None
        if credentials.oscore_id is not None:
            return verify_context(self._devices, credentials.oscore_id), None
        if credentials.secret is None and credentials.is_address_proven:
            return verify_address(self._devices, credentials.host), None
        if credentials.secret is None:
            raise AuthenticationFailed(
                f"client id {credentials.client_id!r} showed no credentials",
                reason="no credentials",
                fix="connect with the device's certificate, token or password: its README.md has the command line",
            )
        _check_protected(credentials)
        if looks_like_token(credentials.secret):
            return self._tokens.verify(credentials.client_id, credentials.secret, now)
        return self._passwords.verify(credentials, now), None


def standing(device: Device, credential: Credential, now: float) -> LockgateError | None:
    """Say what is wrong with a device that has proven who it is, or None."""
    if credential.is_revoked:
        return _revoked(device.name)
    if credential.expires_at is not None and credential.expires_at <= now:
        return ProofExpired(
            f"the credential {credential.id} of {device.name} has expired",
            reason="credential expired",
            fix=f"lockgate device rotate {device.name} --out DIR gives it a new one",
            evidence={"device": device.name, "credential": str(credential.id)},
        )
    if device.is_blocked:
        return ShutOut(
            f"{device.name} is blocked",
            reason="device blocked",
            fix=f"lockgate device unblock {device.name}",
            evidence={"device": device.name},
        )
    if device.is_shut_out:
        group = device.blocked_groups[0]
        return ShutOut(
            f"{device.name} is in the group {group}, which is blocked",
            reason="group blocked",
            fix=f"lockgate group unblock {group}",
            evidence={"device": device.name, "group": ", ".join(device.blocked_groups)},
        )
    return None


def _check_protected(credentials: Credentials) -> None:
    if not credentials.is_protected:
        raise AuthenticationFailed(
            "a password or token came over an unencrypted connection",
            reason="password needs TLS",
            fix="connect to the TLS port, and give the device a new password or key: this was readable on the way",
        )


def _check_client_id(device: Device, client_id: str) -> None:
    # An empty client id asks for one of ours [MQTT-3.1.3-6]; it gets one under the device's name.
    if client_id and not owns_client_id(device.name, client_id):
        raise NotAuthorized(
            f"{device.name} proved who it is, but asked for the client id {client_id!r}",
            reason="client id belongs to another device",
            fix=f"use the client id {device.name} or {device.name}/SUFFIX",
            step=Step.CLIENT_ID,
            evidence={"device": device.name, "client_id": client_id},
        )
    if len(client_id) > MAX_CLIENT_ID:
        raise NotAuthorized(
            f"{device.name} asked for a client id of {len(client_id)} characters; the most is {MAX_CLIENT_ID}",
            reason="client id not valid",
            fix=f"use the client id {device.name} or {device.name}/SUFFIX",
            step=Step.CLIENT_ID,
            evidence={"device": device.name},
        )
    if any(character in "+#" or not character.isprintable() for character in client_id):
        raise NotAuthorized(
            f"the client id {client_id!r} holds a wildcard or a control character",
            reason="client id not valid",
            fix=f"use the client id {device.name} or {device.name}/SUFFIX",
            step=Step.CLIENT_ID,
            evidence={"device": device.name},
        )


def _unknown(device: str) -> ShutOut:
    return ShutOut(
        f"no device {device!r} is registered",
        reason="device not registered",
        fix=f"lockgate device add {device} --auth KIND --out DIR",
        step=Step.CREDENTIAL,
        evidence={"device": device},
    )


def _revoked(device: str) -> ShutOut:
    return ShutOut(
        f"the credential of {device} was revoked",
        reason="credential revoked",
        fix=f"lockgate device rotate {device} --out DIR gives it a new key",
        step=Step.CREDENTIAL,
        evidence={"device": device},
    )


def _earlier(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
