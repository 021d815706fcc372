"""Compile the hot rooms with mypyc where a C compiler is; install them as plain Python where none is.

LOCKGATE_PURE=1 leaves them as they are; LOCKGATE_COMPILED=1 makes a failed compilation an error instead of a warning.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HOT_ROOMS = [
    "src/lockgate/model/epoch.py",
    "src/lockgate/model/principal.py",
    "src/lockgate/model/topic.py",
    "src/lockgate/net/link.py",
    "src/lockgate/net/handshakes.py",
    "src/lockgate/net/records.py",
    "src/lockgate/net/tls.py",
    "src/lockgate/net/turn.py",
    "src/lockgate/net/wires.py",
    "src/lockgate/net/streams.py",
    "src/lockgate/net/udp.py",
    "src/lockgate/net/datagrams.py",
    "src/lockgate/net/hellos.py",
    "src/lockgate/net/dtls_port.py",
    "src/lockgate/net/gnutls.py",
    "src/lockgate/net/dtls_listener.py",
    "src/lockgate/model/message.py",
    "src/lockgate/model/delivery.py",
    "src/lockgate/adapters/coap/mapping.py",
    "src/lockgate/adapters/coap/resources.py",
    "src/lockgate/adapters/coap/observing.py",
    "src/lockgate/adapters/coap/intake.py",
    "src/lockgate/adapters/coap/server.py",
    "src/lockgate/adapters/coap/protected.py",
    "src/lockgate/adapters/mqtt/exchange.py",
    "src/lockgate/adapters/mqtt/wire.py",
    "src/lockgate/adapters/mqtt/wire_fields.py",
    "src/lockgate/adapters/mqtt/wire_properties.py",
    "src/lockgate/adapters/mqtt/wire_session.py",
    "src/lockgate/adapters/mqtt/aliases.py",
    "src/lockgate/adapters/mqtt/owner.py",
    "src/lockgate/adapters/mqtt/protocol.py",
    "src/lockgate/adapters/mqtt/mapping.py",
    "src/lockgate/adapters/mqtt/intake.py",
    "src/lockgate/adapters/mqtt/writing.py",
    "src/lockgate/adapters/mqtt/sender.py",
    "src/lockgate/adapters/mqtt/server.py",
    "src/lockgate/adapters/mqtt/turns.py",
    "src/lockgate/hub/ports.py",
    "src/lockgate/hub/eviction.py",
    "src/lockgate/hub/handover.py",
    "src/lockgate/hub/known.py",
    "src/lockgate/hub/rates.py",
    "src/lockgate/hub/reading.py",
    "src/lockgate/hub/shares.py",
    "src/lockgate/hub/trie.py",
    "src/lockgate/hub/session.py",
    "src/lockgate/hub/routes.py",
    "src/lockgate/hub/receipts.py",
    "src/lockgate/hub/hub.py",
    "src/lockgate/hub/rounds.py",
    "src/lockgate/adapters/mqtt/admission.py",
    "src/lockgate/hub/timers.py",
    "src/lockgate/store/batch.py",
    "src/lockgate/store/committer.py",
    "src/lockgate/store/messages_db.py",
    "src/lockgate/identity/x509.py",
    "src/lockgate/identity/authenticator.py",
    "src/lockgate/adapters/coap/messages.py",
    "src/lockgate/adapters/coap/wire.py",
    "src/lockgate/adapters/coap/exchange.py",
    "src/lockgate/adapters/coap/protocol.py",
    "src/lockgate/adapters/coap/blocks.py",
    "src/lockgate/adapters/coap/flight.py",
    "src/lockgate/adapters/coap/transfer.py",
]
"""Also in lockgate.cli.output, which tells which of them run compiled."""

MYPY = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", "--cache-dir=/dev/null"]
"""Only the hot rooms are judged: where they are built, the packages that other rooms import need not be there."""


class OptionalBuild(build_ext):  # type: ignore[misc, unused-ignore]
    """Builds the extensions, or says why not and goes on without them."""

    def run(self) -> None:
        """Build; a failure leaves the pure build."""
        try:
            super().run()
        except Exception as error:
            if os.environ.get("LOCKGATE_COMPILED"):
                raise
            print(f"lockgate: the hot rooms stay plain Python: {error}", file=sys.stderr)
            for extension in self.extensions:  # all or none: a half-built set would not import
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions: list[Extension] = []


def extensions() -> list[Extension]:
    """Give the extensions to build; none where they are not wanted or cannot be made."""
    if os.environ.get("LOCKGATE_PURE"):
        return []
    if not shutil.which(os.environ.get("CC", "cc").split()[0]):
        print("lockgate: no C compiler: the hot rooms stay plain Python", file=sys.stderr)
        return []
    try:
        from mypyc.build import mypycify

        # Without debug information the wheel is half as large; the names of functions stay, for profiles.
        made: list[Any] = mypycify([*MYPY, *HOT_ROOMS], opt_level="3", debug_level="0", group_name="lockgate")
    except (Exception, SystemExit) as error:
        if os.environ.get("LOCKGATE_COMPILED"):
            raise
        print(f"lockgate: the hot rooms stay plain Python: {error}", file=sys.stderr)
        return []
    return made


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
