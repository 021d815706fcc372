"""Add the C libraries that our packages carry, or that Python links, to a CycloneDX bill of materials."""

from __future__ import annotations

import json
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.hazmat.backends.openssl import backend
from uvloop.loop import libuv_get_version


def libraries() -> list[dict[str, Any]]:
    """Give one CycloneDX component for each library."""
    number = libuv_get_version()
    libuv = f"{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    openssl = backend.openssl_version_text().split()[1]
    argon2 = version("argon2-cffi-bindings")
    found = (
        ("openssl", openssl, f"inside the wheel of cryptography {version('cryptography')}: TLS and all cryptography"),
        ("libuv", libuv, f"inside the wheel of uvloop {version('uvloop')}: the event loop"),
        ("argon2", argon2, f"inside the wheel of argon2-cffi-bindings {argon2}: passwords"),
        ("sqlite", sqlite3.sqlite_version, "linked by Python's sqlite3: the databases"),
    )
    return [
        {
            "type": "library",
            "bom-ref": f"c-library-{name}",
            "name": name,
            "version": number,
            "description": description,
            "purl": f"pkg:generic/{name}@{number}",
        }
        for name, number, description in found
    ]


def main(path: Path) -> None:
    """Add the libraries to the file at `path`."""
    bom = json.loads(path.read_text())
    added = libraries()
    names = {component["bom-ref"] for component in added}
    bom["components"] = [c for c in bom["components"] if c["bom-ref"] not in names] + added
    path.write_text(json.dumps(bom, indent=2) + "\n")
    packages = len(bom["components"]) - len(added)
    print(f"{path}: {packages} packages and {len(added)} C libraries")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
