"""Mutated packets: what the wire takes and refuses, and by which code, is what a second opinion says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, V311, MqttError, Packet
from tests.fuzz.judge import FROM_CLIENT, judge
from tests.fuzz.mutations import CONNECT_SEEDS, SEEDS, mutated

LIMIT = 1_048_576
SHORT, LONG = 10_000, 1_000_000
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.hex"))


def check(data: bytes, version: int) -> str:
    """Hold the wire against the judge on one packet; give what became of it."""
    verdict = judge(data, version, LIMIT)
    found, error = _decoded(data, version)
    if error is not None:
        assert str(error)
        assert verdict is not None, f"refused ({error}) before it is whole: {version} {data.hex()}"
        assert error.code in verdict.codes, f"{error} 0x{error.code:02x}, not {verdict.codes}: {version} {data.hex()}"
        return "refused"
    if found is None:
        assert verdict is None, f"still waits: {version} {data.hex()}"
        return "waits"
    packet, end = found
    if verdict is not None and verdict.kind not in FROM_CLIENT:
        return "foreign"
    assert verdict is not None, f"taken before it is whole: {version} {data.hex()}"
    assert not verdict.codes, f"taken, but wrong by {verdict.codes}: {version} {data.hex()} {packet}"
    assert end == verdict.end
    again = wire.encode(packet, version)
    assert wire.decode(again, 0, version, LIMIT) == (packet, len(again)), "what was understood can be said"
    return "taken"


def _decoded(data: bytes, version: int) -> tuple[tuple[Packet, int] | None, MqttError | None]:
    try:
        return wire.decode(data, 0, version, LIMIT), None
    except MqttError as error:
        return None, error


def test_the_seeds_are_taken() -> None:
    for version in (V311, V5):
        assert {check(data, version) for data in SEEDS[version]} == {"taken"}
    assert {check(data, V5) for data in CONNECT_SEEDS} == {"taken"}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_went_wrong_once_is_judged_right(path: Path) -> None:
    for line in path.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text:
            for version in (V311, V5):
                check(bytes.fromhex(text), version)


def run(count: int, seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    outcomes = {"taken": 0, "refused": 0, "waits": 0, "foreign": 0}
    pools = {version: SEEDS[version] + CONNECT_SEEDS for version in (V311, V5)}
    for _ in range(count):
        version = V5 if chance.random() < 0.7 else V311
        pool = pools[version]
        outcomes[check(mutated(chance.choice(pool), chance, pool), version)] += 1
    return outcomes


def test_mutated_packets_get_the_code_that_the_standard_names() -> None:
    outcomes = run(SHORT, 1)
    assert min(outcomes["taken"], outcomes["refused"], outcomes["waits"]) > SHORT // 100, outcomes


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_mutated_packets_get_the_code_that_the_standard_names() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    outcomes = run(LONG, seed)
    print(outcomes)
    assert min(outcomes["taken"], outcomes["refused"], outcomes["waits"]) > LONG // 100, outcomes
