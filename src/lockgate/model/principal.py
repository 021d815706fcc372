"""A principal: who somebody is, proven. Only `identity` makes one for a device."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True, gc=False):
    """The proven identity behind one connection or one request.

    `device` is the registry's name; `client_id` the name of the session that it opened; `auth` how it was proven
    (a `CredentialKind`, or "lab"); `credential_id` the registry's number of the credential that proved it (0 for none);
    `expires_at` the unix second at which the proof ends, None when it does not.
    """

    device: str
    client_id: str
    auth: str
    credential_id: int = 0
    expires_at: float | None = None
