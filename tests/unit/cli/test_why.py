"""`lockgate why`: the last refusals, by reference, by device, for people and for programs."""

from __future__ import annotations

import time

import msgspec
import pytest

from lockgate.cli.why import explain, shared_shift
from lockgate.errors import Step
from lockgate.home import Home
from lockgate.identity.jwt import CLOCK_SHIFT
from lockgate.model.refusal import Refusal
from lockgate.store.messages_db import MessagesDb
from tests.support.cli import CommandLine

LATE = Refusal(
    "K7Q2-9XMD",
    1_800_000_060.0,
    Step.CREDENTIAL,
    "token expired",
    "the token expired",
    "set the clock",
    "mqtt",
    "192.0.2.7",
    "sensor",
    "sensor/1",
    True,
    {"aud": "lockgate"},
    3,
)
EARLY = Refusal("AAAA-BBBB", 1_800_000_000.0, Step.TLS, "no shared protocol version", "TLS 1.1", address="192.0.2.8")
CLAIMED = Refusal(
    "CCCC-DDDD", 1_800_000_030.0, Step.POLICY, "x", "[/]\x1b[2J", door="mqtt", address="::1", device="[red]"
)


@pytest.fixture(autouse=True)
def _refusals(lockgate: CommandLine) -> None:
    store = MessagesDb(Home(lockgate.home).messages_path)
    store.save_refusals([LATE, EARLY, CLAIMED])
    store.close()


def test_the_last_refusals_come_newest_first(lockgate: CommandLine) -> None:
    facts = lockgate.does("why", "--json").json()
    assert [each["reference"] for each in facts] == ["K7Q2-9XMD", "CCCC-DDDD", "AAAA-BBBB"]
    out = lockgate.does("why").out
    assert out.index("K7Q2-9XMD") < out.index("CCCC-DDDD") < out.index("AAAA-BBBB")
    assert lockgate.does("why", "--last", "1", "--json").json() == facts[:1]


@pytest.mark.parametrize("spoken", ["K7Q2-9XMD", "k7q29xmd", "K7Q2 9XMD"])
def test_one_refusal_is_found_by_its_reference_as_people_say_it(lockgate: CommandLine, spoken: str) -> None:
    out = lockgate.does("why", spoken).out
    assert out.splitlines() == [
        "K7Q2-9XMD  token expired  (step credential, 2027-01-15 08:01:00 UTC, 3 times)",
        "    who: mqtt from 192.0.2.7, device sensor, client id sensor/1",
        "    why: the token expired",
        "         aud: lockgate",
        "    fix: set the clock",
    ]


def test_the_refusals_of_one_device_are_picked(lockgate: CommandLine) -> None:
    assert [each["reference"] for each in lockgate.does("why", "--device", "sensor", "--json").json()] == ["K7Q2-9XMD"]
    assert lockgate.does("why", "--device", "nobody").out == "nobody was refused\n"
    assert lockgate.does("why", "--device", "nobody", "--json").json() == []


def test_what_a_peer_said_of_itself_is_marked_and_harmless(lockgate: CommandLine) -> None:
    out = lockgate.does("why", "CCCC-DDDD").out
    assert "device [red] (claimed, not verified)" in out
    assert "why: [/]\\x1b[2J" in out


def test_a_refusal_without_a_door_or_fix_says_what_it_knows() -> None:
    lines = explain(EARLY)
    assert lines[1] == "    who: 192.0.2.8"
    assert not any("fix" in line for line in lines)


def test_an_unknown_reference_is_refused(lockgate: CommandLine) -> None:
    for reference in ("ZZZZ-ZZZZ", "x"):
        said = lockgate.refuses("why", reference)
        assert "no refusal has the reference" in said
        assert "lockgate why shows the last ones" in said


@pytest.mark.parametrize("mistyped", ["K7Q2-9XMB", "K7Q29XM", "7K Q2 9XMD", "KTQ29XMD"])
def test_a_mistyped_reference_is_told_what_it_may_have_been(lockgate: CommandLine, mistyped: str) -> None:
    assert "did you mean K7Q2-9XMD?" in lockgate.refuses("why", mistyped)


def test_refusals_are_chosen_by_step_and_time(lockgate: CommandLine) -> None:
    def references(*options: str) -> list[str]:
        return [each["reference"] for each in lockgate.does("why", "--json", *options).json()]

    assert references("--step", "tls") == ["AAAA-BBBB"]
    assert references("--step", "limit") == []
    assert references("--since", "2027-01-15T08:00:30") == ["K7Q2-9XMD", "CCCC-DDDD"]
    assert references("--since", "2027-01-15T10:01:00+02:00") == ["K7Q2-9XMD"]
    assert len(references("--since", "36500d")) == 3
    assert "is no moment" in lockgate.refuses("why", "--since", "yesterday")
    assert lockgate.misused("why", "--step", "kitchen")


def test_following_shows_what_comes_and_what_comes_often(
    lockgate: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = [
        msgspec.structs.replace(LATE, at=LATE.at + 1, count=5),
        msgspec.structs.replace(LATE, at=LATE.at + 2, count=6),
        msgspec.structs.replace(EARLY, at=LATE.at + 3, reference="EEEE-FFFF"),
    ]

    def wait(_seconds: float) -> None:
        if not news:
            raise KeyboardInterrupt
        store = MessagesDb(Home(lockgate.home).messages_path)
        store.save_refusals([news.pop(0)])
        store.close()

    monkeypatch.setattr(time, "sleep", wait)
    found = [msgspec.json.decode(line) for line in lockgate.does("why", "--follow", "--json").out.splitlines()]
    assert [(each["reference"], each["count"]) for each in found] == [
        ("AAAA-BBBB", 1), ("CCCC-DDDD", 1), ("K7Q2-9XMD", 3), ("K7Q2-9XMD", 6), ("EEEE-FFFF", 1)
    ]  # fmt: skip
    assert "set the clock" in lockgate.does("why", "--follow").out


def shifted(device: str, seconds: float) -> Refusal:
    """Make the refusal of a device whose clock is off."""
    return msgspec.structs.replace(LATE, device=device, evidence={CLOCK_SHIFT: f"{seconds:+.0f} s"})


def test_clocks_that_are_off_alike_point_at_the_hubs() -> None:
    alike = [shifted("a", -7200.0), shifted("b", -7100.0), shifted("c", -7300.0), shifted("d", 90.0)]
    assert shared_shift(alike) == (
        "3 devices' clocks differ from this hub's by about 2 h alike: look at this hub's clock first, it may be ahead."
    )
    assert "may be behind" in shared_shift([shifted(name, 3600.0) for name in "abc"])
    assert shared_shift(alike[1:]) == ""
    assert shared_shift([shifted("a", -7200.0)] * 5) == "", "one device, five times"
    assert shared_shift([shifted(name, number * 5000.0) for number, name in enumerate("abcde")]) == ""


def test_the_hint_at_the_hubs_clock_stands_below(lockgate: CommandLine) -> None:
    store = MessagesDb(Home(lockgate.home).messages_path)
    clocks = [shifted(name, 3600.0) for name in "abc"]
    store.save_refusals([msgspec.structs.replace(r, reference=f"FFFF-000{n}") for n, r in enumerate(clocks)])
    store.close()
    assert lockgate.does("why").out.splitlines()[-1].startswith("3 devices' clocks differ")


def test_a_number_that_is_none_is_wrong_usage(lockgate: CommandLine) -> None:
    lockgate.misused("why", "--last", "0")
    lockgate.misused("why", "a", "b")
