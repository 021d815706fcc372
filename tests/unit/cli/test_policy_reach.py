"""`lockgate policy reach`: whom a device can reach, by which topic, and what bars the way."""

from __future__ import annotations

import pytest

from tests.support.cli import CommandLine


@pytest.fixture(autouse=True)
def _devices(lockgate: CommandLine) -> None:
    for name in ("sensor", "office", "spy"):
        lockgate.adds(name, "password")
    lockgate.does("policy", "allow", "--device", "sensor", "--publish", "out/#")
    lockgate.does("policy", "allow", "--device", "office", "--receive", "out/#")
    lockgate.does("policy", "allow", "--device", "spy", "--receive", "out/secret/#")
    lockgate.does("policy", "deny", "--everyone", "--receive", "out/secret/#")


def test_a_way_is_shown_with_its_topic_and_rules(lockgate: CommandLine) -> None:
    lines = lockgate.does("policy", "reach", "sensor", "office").out.splitlines()
    assert lines[0] == "yes: sensor to office"
    assert [line.split(maxsplit=1) for line in lines[1:4]] == [
        ["topic:", "out"],
        ["published:", "as sensor, device:sensor: allow publish out/# (rule 1)"],
        ["received:", "as office, device:office: allow receive out/# (rule 2)"],
    ]
    assert lines[4] == "no: office to sensor: no allow rules overlap"


def test_no_way_is_shown_with_what_bars_it(lockgate: CommandLine) -> None:
    done = lockgate("policy", "reach", "sensor", "spy")
    assert done.code == 1
    assert "denied by everyone: deny receive out/secret/# (rule 4)" in done.out


def test_all_ways_of_a_device_are_listed(lockgate: CommandLine) -> None:
    out = lockgate.does("policy", "reach", "sensor", "--all").out.splitlines()
    assert out[1].split()[:3] == ["sensor", "office", "out"]
    assert out[-1] == "1 ways, of 4 asked about"
    (way,) = lockgate.does("policy", "reach", "sensor", "--all", "--json").json()
    assert (way["receiver"], way["topic"], way["is_possible"]) == ("office", "out", True)
    done = lockgate("policy", "reach", "spy", "--all")
    assert (done.code, done.out) == (1, "0 ways, of 4 asked about\n")


def test_who_is_unknown_is_named_and_half_a_command_is_wrong_usage(lockgate: CommandLine) -> None:
    assert "there is no device nobody" in lockgate.refuses("policy", "reach", "sensor", "nobody")
    assert "there is no device nobody" in lockgate.refuses("policy", "reach", "nobody", "--all")
    lockgate.misused("policy", "reach", "sensor")
    lockgate.misused("policy", "reach", "sensor", "office", "--all")
