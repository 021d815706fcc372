"""What makes a start short: what a process need not load, and when Python need not look for garbage.

Nothing here changes what is done, only what is done before the doors open. Half of a small hub's start is imports.
"""

from __future__ import annotations

import gc
import importlib
import sys

_RICH = "rich"


def load_structlog() -> None:
    """Load structlog without rich, which it would load for coloured tracebacks alone; those of a hub stay plain.

    Does nothing when either is loaded already. Afterwards rich can be imported as ever.
    """
    if "structlog" in sys.modules or _RICH in sys.modules:
        return
    sys.modules[_RICH] = None  # type: ignore[assignment]  # what the import system knows as "there is none"
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules[_RICH]


def without_collector(module: str) -> object:
    """Import a module and give it, with the collector at rest: what an import makes is there to stay.

    Looking for garbage among it again and again costs a fifth of the time. What lives afterwards is not looked at any
    more.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
