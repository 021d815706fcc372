"""A refusal: why somebody was turned away, as `lockgate why` shows it."""

from __future__ import annotations

import msgspec

from lockgate.errors import Step


class Refusal(msgspec.Struct, frozen=True):
    """One refusal, or a run of like ones.

    `reference` is what the peer was told; `at` the unix second of the latest; `count` how many like it came
    (same address, step and reason) since the first; `device` and `client_id` are what the peer claimed, and
    `is_verified` says whether the device's name was proven. `evidence` holds fingerprints, names and times, never
    secrets.
    """

    reference: str
    at: float
    step: Step
    reason: str
    message: str
    fix: str = ""
    door: str = ""
    address: str = ""
    device: str = ""
    client_id: str = ""
    is_verified: bool = False
    evidence: dict[str, str] = {}
    count: int = 1
