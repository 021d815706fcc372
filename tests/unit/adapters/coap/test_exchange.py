"""What the protocol remembers, and which options count (RFC 7252 section 5.4)."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap.exchange import (
    KNOWN_OPTIONS,
    Acknowledged,
    Event,
    GaveUp,
    Request,
    Reset,
    Response,
    sift,
    unacceptable,
)
from lockgate.adapters.coap.messages import CoapMessage, Options

PATH = (11, b"a")


def test_events_are_equal_by_kind_and_value() -> None:
    message = CoapMessage(0, 1, 7)
    events: list[Event] = [Request(message), Request(message, True), Response(message, 1), Acknowledged(1, b"t"),
                           Reset(1, b"t"), GaveUp(1, b"t")]  # fmt: skip
    assert [events.index(event) for event in events] == list(range(6))
    assert len({*events, Reset(1, b"t")}) == 6
    assert repr(Event()) == "Event()"
    assert repr(Reset(1, b"t")) == "Reset(1, b't')"


@pytest.mark.parametrize(
    ("options", "kept", "bad"),
    [
        ((), (), 0),
        ((PATH, PATH, (12, b"\x32"), (15, b"q"), (15, b"q")), None, 0),
        (((11, b"x" * 256),), None, 11),
        (((15, b"x" * 256),), None, 15),
        (((9, b""), PATH), None, 9),
        ((PATH, (19, b"")), None, 19),
        ((PATH, (12, b"\1"), (18, b"x"), (2000, b"")), (PATH, (12, b"\1")), 0),
        ((PATH, (14, b"12345")), (PATH,), 0),
        (((6, b""), (6, b"\1"), PATH), ((6, b""), PATH), 0),
        (((1, b"a"), (1, b"b"), (4, b"c"), (4, b"")), ((1, b"a"), (1, b"b"), (4, b"c")), 0),
        ((PATH, (17, b"\1"), (17, b"\2")), None, 17),
        (((5, b"x"), PATH), None, 5),
        ((PATH, (14, b"12345"), (27, b"1234")), None, 27),
    ],
    ids=str,
)
def test_elective_options_are_left_out_and_critical_ones_named(options: Options, kept: Options, bad: int) -> None:
    found, critical = sift(options, KNOWN_OPTIONS)
    assert critical == bad
    assert found == (options if kept is None else kept)
    assert (unacceptable(options, KNOWN_OPTIONS) == 0) == (not bad and found == options)
