"""Keys for tokens, and the check of a token's signature: what joserfc does for us.

A room of its own, so that the library is loaded with the first token: that takes some 15 ms, which the start of a hub
need not wait for, and a hub whose devices have certificates never.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from lockgate.model.device import Credential, CredentialKind

Key: TypeAlias = ECKey | OKPKey | RSAKey

_KEYS: dict[CredentialKind, type[ECKey] | type[OKPKey] | type[RSAKey]] = {
    CredentialKind.JWT_ES256: ECKey,
    CredentialKind.JWT_RS256: RSAKey,
    CredentialKind.JWT_EDDSA: OKPKey,
}
# Devices that were made before RFC 9864 say EdDSA, and go on saying it.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)


def read_key(credential: Credential) -> Key:
    """Give the key of a credential for tokens.

    Raises:
        JoseError, ValueError: when it is none.
    """
    return _KEYS[credential.kind].import_key(credential.public)


def signed_claims(token: bytes, find_key: Callable[[], Key], algorithms: Sequence[str]) -> dict[str, Any] | None:
    """Give the claims of a token that a key has signed with one of these algorithms; None when it has not.

    Args:
        token: in compact form.
        find_key: gives the key; what it raises as `read_key` does is no signature either.
        algorithms: by their names in JOSE headers.
    """
    if not algorithms:
        return None  # to the library, none named means any that it recommends
    try:
        return dict(jwt.decode(token, find_key(), algorithms=list(algorithms)).claims)
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
