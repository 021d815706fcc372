"""A principal: who somebody is, proven. Only `identity` makes one for a device."""

from __future__ import annotations

from typing import final


@final
class Principal:
    """The proven identity behind one connection or one request; it does not change.

    `device` is the registry's name; `client_id` the name of the session that it opened; `auth` how it was proven
    (a `CredentialKind`, or "lab"); `credential_id` the registry's number of the credential that proved it (0 for none);
    `expires_at` the unix second at which the proof ends, None when it does not.
    """

    __slots__ = ("auth", "client_id", "credential_id", "device", "expires_at")

    def __init__(
        self, device: str, client_id: str, auth: str, credential_id: int = 0, expires_at: float | None = None
    ) -> None:
        self.device: str = device
        self.client_id: str = client_id
        self.auth: str = auth
        self.credential_id: int = credential_id
        self.expires_at: float | None = expires_at

    def until(self, expires_at: float | None) -> Principal:
        """Give the same principal with another end of its proof."""
        return Principal(self.device, self.client_id, self.auth, self.credential_id, expires_at)

    def _key(self) -> tuple[str, str, str, int, float | None]:
        return self.device, self.client_id, self.auth, self.credential_id, self.expires_at

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, Principal) and self._key() == other._key()

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash(self._key())

    def __repr__(self) -> str:
        """Show everything: none of it is secret."""
        device, client_id, auth, credential_id, expires_at = self._key()
        return f"Principal({device!r}, {client_id!r}, {auth!r}, {credential_id}, {expires_at})"
