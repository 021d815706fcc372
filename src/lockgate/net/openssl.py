"""How many session tickets a handshake gives: one, said in the only place where OpenSSL can be told through pyOpenSSL.

That is its configuration file, which it reads once, when it is first loaded. Ours is `openssl.cnf` beside this module.
It never stands in for an administrator's: one that `OPENSSL_CONF` names is read instead, and an OpenSSL of the system,
whose own file may hold a policy (the lowest protocol, FIPS), is left alone. The OpenSSL inside cryptography's wheels
comes with no such file, and shares nothing with the one that Python itself uses. Docs: ADR 0018.
"""

from __future__ import annotations

import hashlib  # noqa: F401 - Python's own OpenSSL, should it look for its file at all, looks before ours is named
import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

CONFIGURATION = Path(__file__).with_name("openssl.cnf")
VARIABLE = "OPENSSL_CONF"
_BINDING = "cryptography.hazmat.bindings._rust"
_WHEELS = "manylinux", "musllinux"
"""Tags of wheels of the package index, which bring their OpenSSL; one built on this machine uses the machine's."""


def give_one_ticket() -> bool:
    """Load OpenSSL so that a full TLS 1.3 handshake gives one ticket; say whether that was ours to decide.

    Only a process that has not loaded it yet can; the environment is afterwards as it was.
    """
    if VARIABLE in os.environ or _BINDING in sys.modules or not brings_its_openssl():
        return False
    os.environ[VARIABLE] = str(CONFIGURATION)
    try:
        importlib.import_module(_BINDING)
    finally:
        del os.environ[VARIABLE]
    return True


def brings_its_openssl() -> bool:
    """Say whether cryptography is installed as a wheel with an OpenSSL of its own."""
    found = find_spec("cryptography")
    if found is None or found.origin is None:
        return False
    # What importlib.metadata would read: it takes 15 ms to load, of the time that a hub takes to start.
    installed = Path(found.origin).parents[1].glob("cryptography-*.dist-info/WHEEL")
    tags = [line for path in installed for line in path.read_text(encoding="utf-8").splitlines() if "Tag:" in line]
    return any(f"-{kind}" in tag for tag in tags for kind in _WHEELS)
