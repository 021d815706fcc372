"""The message layer: repeats, acknowledgements, sending again, giving up (RFC 7252 section 4)."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.exchange import (
    KNOWN_OPTIONS,
    NO_KEY,
    Acknowledged,
    Event,
    GaveUp,
    Request,
    Reset,
    Response,
)
from lockgate.adapters.coap.messages import CoapMessage, Code, Options, Type
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.errors import QuotaExceeded
from lockgate.settings import CoapSettings

pytestmark = pytest.mark.requirement("C1")

CON, NON, ACK, RST = Type.CON, Type.NON, Type.ACK, Type.RST
PATH: Options = ((11, b"a"),)
EXCHANGE_LIFETIME = 247.0
NON_LIFETIME = 145.0


class Link:
    """One end's protocol under a clock of its own; what it says is read as messages."""

    def __init__(self, chance: float = 0.0, known: frozenset[int] = KNOWN_OPTIONS, **settings: Any) -> None:
        self.now = 1000.0
        self.chances = [chance]
        self.protocol = CoapProtocol(CoapSettings(**settings), self.now, 500, self.chance, known)

    def chance(self) -> float:
        return self.chances.pop(0) if len(self.chances) > 1 else self.chances[0]

    def hears(self, message: CoapMessage, is_multicast: bool = False) -> list[Event]:
        return self.protocol.receive_datagram(wire.encode(message), self.now, is_multicast)

    def asked(self, message: CoapMessage, is_multicast: bool = False) -> CoapMessage:
        (event,) = self.hears(message, is_multicast)
        assert isinstance(event, Request)
        return event.message

    def said(self) -> list[CoapMessage]:
        return [wire.decode(data) for data in self.protocol.datagrams_to_send()]

    def answers(self, request: CoapMessage, code: int = Code.CONTENT, payload: bytes = b"21") -> list[CoapMessage]:
        self.protocol.respond(request, code, (), payload, self.now)
        return self.said()

    def notifies(self, key: int, token: bytes = b"o", is_confirmable: bool = True) -> int:
        return self.protocol.notify(token, Code.CONTENT, (), bytes([key]), is_confirmable, key, self.now)

    def passes(self, seconds: float) -> list[Event]:
        """Let time pass, from timer to timer, as a driver does."""
        end, events = self.now + seconds, []
        while (at := self.protocol.next_timer()) is not None and at <= end:
            self.now = max(self.now, at)
            events += self.protocol.handle_timer(self.now)
        self.now = end
        return events


def get(message_id: int = 7, kind: int = CON, options: Options = PATH, token: bytes = b"t") -> CoapMessage:
    return CoapMessage(kind, Code.GET, message_id, token, options)


def notification(message_id: int, key: int, token: bytes = b"o", kind: int = CON) -> CoapMessage:
    return CoapMessage(kind, Code.CONTENT, message_id, token, (), bytes([key]))


# Requests that come


def test_an_answer_at_once_is_piggybacked() -> None:
    link = Link()
    request = link.asked(get())
    assert request == get()
    assert link.answers(request) == [CoapMessage(ACK, Code.CONTENT, 7, b"t", (), b"21")]
    assert link.said() == []


def test_a_request_that_comes_twice_acts_once() -> None:
    link = Link()
    put = CoapMessage(CON, Code.PUT, 7, b"t", PATH, b"21")
    answer = link.answers(link.asked(put), Code.CHANGED, b"")
    link.passes(EXCHANGE_LIFETIME - 1)
    assert link.hears(put) == []
    assert link.said() == answer
    assert link.protocol.repeated_number == 1


def test_a_message_id_is_free_again_when_its_exchange_is_over() -> None:
    link = Link()
    link.answers(link.asked(get()))
    link.passes(EXCHANGE_LIFETIME + 0.1)
    assert link.hears(get()) == [Request(get())]


def test_the_same_message_id_with_another_token_or_code_is_another_request() -> None:
    link = Link()
    link.answers(link.asked(get()))
    link.asked(get(token=b"u", options=()))
    link.answers(link.asked(get(token=b"v")))
    link.answers(link.asked(get(token=b"u")))
    assert link.hears(CoapMessage(CON, Code.DELETE, 7, b"u", PATH)) != []


def test_a_repeat_of_what_is_not_answered_yet_waits_for_that_answer() -> None:
    link = Link()
    request = link.asked(get())
    assert link.hears(get()) == []
    assert link.said() == []
    assert len(link.answers(request)) == 1


def test_a_long_answer_to_a_get_is_made_again() -> None:
    link = Link()
    link.answers(link.asked(get()), payload=bytes(1000))
    assert link.hears(get()) == [Request(get(), is_repeated=True)]
    assert len(link.answers(get(), payload=bytes(1000))) == 1
    put = CoapMessage(CON, Code.PUT, 8, b"t", PATH, b"21")
    answer = link.answers(link.asked(put), Code.BAD_REQUEST, bytes(1000))
    assert link.hears(put) == []
    assert link.said() == answer, "what has an effect is never done again"


def test_an_unconfirmable_request_is_answered_unconfirmably_and_once() -> None:
    link = Link()
    request = link.asked(get(kind=NON))
    assert link.answers(request) == [CoapMessage(NON, Code.CONTENT, 500, b"t", (), b"21")]
    assert link.answers(request) == []
    assert link.hears(get(kind=NON)) == []
    assert link.said() == []
    link.passes(NON_LIFETIME + 0.1)
    assert link.hears(get(kind=NON)) == [Request(get(kind=NON))]


def test_an_answer_that_takes_its_time_comes_separately() -> None:
    link = Link()
    request = link.asked(get())
    assert link.passes(0.6) == []
    assert link.said() == [CoapMessage(ACK, Code.EMPTY, 7)]
    assert link.hears(get()) == []
    assert link.said() == [CoapMessage(ACK, Code.EMPTY, 7)]
    assert link.answers(request) == [CoapMessage(CON, Code.CONTENT, 500, b"t", (), b"21")]
    assert link.hears(CoapMessage(ACK, Code.EMPTY, 500)) == []
    assert link.passes(100) == []
    assert link.said() == []


def test_a_driver_may_acknowledge_before_time() -> None:
    link = Link()
    request = link.asked(get())
    link.protocol.acknowledge(request)
    link.protocol.acknowledge(request)
    link.protocol.acknowledge(get(8))
    link.protocol.acknowledge(get(token=b"u"))
    assert link.said() == [CoapMessage(ACK, Code.EMPTY, 7)]
    unconfirmable = link.asked(get(9, NON))
    link.protocol.acknowledge(unconfirmable)
    assert link.said() == []


def test_late_acknowledgements_go_out_each_in_its_time() -> None:
    link = Link()
    link.asked(get(1))
    link.asked(get(2, NON))
    link.now += 0.3
    link.asked(get(3))
    link.answers(link.asked(get(4)))
    link.now += 0.1
    link.asked(get(5))
    link.passes(0.15)
    assert link.said() == [CoapMessage(ACK, Code.EMPTY, 1)]
    link.passes(0.4)
    assert link.said() == [CoapMessage(ACK, Code.EMPTY, 3), CoapMessage(ACK, Code.EMPTY, 5)]
    link.answers(get(5)), link.answers(get(1)), link.answers(get(2, NON)), link.answers(get(3))
    assert link.protocol.next_timer() is not None


def test_the_separate_answer_nobody_takes_is_given_up_in_silence() -> None:
    for reset in (False, True):
        link = Link()
        request = link.asked(get())
        link.protocol.acknowledge(request)
        link.said()
        link.answers(request)
        if reset:
            assert link.hears(CoapMessage(RST, Code.EMPTY, 500)) == []
        assert link.passes(EXCHANGE_LIFETIME + 10) == []
        assert len(link.said()) == (0 if reset else 4)


def test_an_answer_to_what_is_forgotten_comes_separately_or_not_at_all() -> None:
    link = Link(max_exchanges=1)
    first = get(1)
    assert link.answers(first) == [CoapMessage(CON, Code.CONTENT, 500, b"t", (), b"21")]
    assert link.answers(get(2)) == [], "it waits for the first"
    assert link.answers(get(3)) == [], "and for the third there is no room"
    assert link.hears(CoapMessage(ACK, Code.EMPTY, 500)) == []
    assert link.said() == [CoapMessage(CON, Code.CONTENT, 501, b"t", (), b"21")]
    assert link.hears(CoapMessage(ACK, Code.EMPTY, 501)) == []
    assert link.said() == []
    assert link.answers(get(4, options=((258, b"\x02"),))) == []


def test_the_oldest_answered_message_is_forgotten_for_the_newest() -> None:
    link = Link(max_exchanges=2)
    link.asked(get(1))
    link.answers(link.asked(get(2)))
    assert link.hears(get(3)) != []
    assert link.hears(get(4)) == [], "both wait for their answers"
    assert link.protocol.dropped_number == 1
    link.answers(get(1))
    assert link.hears(get(4)) != []
    assert link.hears(get(1)) == [], "no room, and forgotten"
    link = Link(max_exchanges=1)
    link.asked(get(1, NON))
    assert link.hears(get(2)) != [], "what needs no answer makes room"
    link = Link(max_exchanges=1)
    link.asked(get(1, NON), is_multicast=True)
    assert link.hears(get(2)) == []


@pytest.mark.parametrize(("value", "is_heard"), [(0, True), (2, False), (8, True), (26, False)])
@pytest.mark.parametrize("kind", [CON, NON])
def test_an_answer_that_is_waived_is_not_sent(kind: int, value: int, is_heard: bool) -> None:
    link = Link()
    request = link.asked(get(kind=kind, options=(*PATH, (258, wire.encode_uint(value)))))
    said = link.answers(request)
    assert [message.code for message in said] == ([Code.CONTENT] if is_heard else [Code.EMPTY] if kind == CON else [])
    assert all(message.type == (ACK if kind == CON else NON) for message in said)


def test_an_error_may_be_waived_on_its_own() -> None:
    link = Link()
    request = link.asked(get(kind=NON, options=((258, b"\x08"),)))
    assert link.answers(request, Code.NOT_FOUND) == []
    assert len(link.answers(link.asked(get(8, NON, ((258, b"\x08"),))), Code.CONTENT)) == 1
    acknowledged = link.asked(get(9, CON, ((258, b"\x02"),)))
    link.protocol.acknowledge(acknowledged)
    link.said()
    assert link.answers(acknowledged) == []


def test_what_is_waived_for_a_request_is_an_acknowledgement_at_most_and_nothing_once_it_is_forgotten() -> None:
    link = Link()
    request = link.asked(get())
    link.protocol.waive(request, link.now)
    assert [(message.type, message.code) for message in link.said()] == [(ACK, Code.EMPTY)]
    link.passes(EXCHANGE_LIFETIME + 0.1)
    link.protocol.waive(request, link.now)
    assert link.said() == []


# Options


@pytest.mark.parametrize("options", [((9, b""),), ((2001, b""),), ((17, b"\1"), (17, b"\2")), ((27, b"1234"),)])
def test_a_critical_option_that_is_not_known_is_refused(options: Options) -> None:
    link = Link()
    assert link.hears(get(options=options)) == []
    (answer,) = link.said()
    assert (answer.type, answer.code, answer.message_id, answer.token) == (ACK, Code.BAD_OPTION, 7, b"t")
    assert f"option {options[0][0]} is critical" in answer.payload.decode()
    assert link.hears(get(kind=NON, options=options)) == []
    assert link.said() == [CoapMessage(RST, Code.EMPTY, 7)]
    assert link.hears(get(kind=NON, options=options), is_multicast=True) == []
    assert link.said() == []


def test_an_option_that_the_driver_knows_comes_through() -> None:
    link = Link(known=KNOWN_OPTIONS | {9})
    assert link.hears(get(options=((9, b""),))) == [Request(get(options=((9, b""),)))]


def test_an_elective_option_that_is_not_known_is_left_out() -> None:
    link = Link()
    assert link.hears(get(options=(*PATH, (2000, b"x")))) == [Request(get())]


@pytest.mark.parametrize("number", [35, 39])
def test_this_is_no_proxy(number: int) -> None:
    link = Link()
    assert link.hears(get(options=((11, b"a"), (number, b"coap://x")))) == []
    assert [message.code for message in link.said()] == [Code.PROXYING_NOT_SUPPORTED]
    unknown = Link(known=KNOWN_OPTIONS - {number})
    assert unknown.hears(get(options=((number, b"coap://x"),))) == []
    assert [message.code for message in unknown.said()] == [Code.BAD_OPTION]


def test_other_options_with_high_numbers_change_nothing() -> None:
    link = Link()
    options = ((11, b"a"), (60, b"\x10"), (292, b"x"))
    assert link.asked(get(options=options)).options == options


# What is no request


@pytest.mark.parametrize("text", ["", "40", "80010007", "50010007ff", "60010007ff", "7001000761"])
def test_malformed_datagrams_are_rejected_in_silence(text: str) -> None:
    link = Link()
    assert link.protocol.receive_datagram(bytes.fromhex(text), link.now) == []
    assert link.said() == []
    assert link.protocol.malformed_number == 1
    assert link.protocol.failure is not None


def test_a_malformed_confirmable_message_is_reset() -> None:
    link = Link()
    assert link.protocol.receive_datagram(bytes.fromhex("40010007ff"), link.now, is_multicast=True) == []
    assert link.said() == []
    assert link.protocol.receive_datagram(bytes.fromhex("40010007ff"), link.now) == []
    assert link.said() == [CoapMessage(RST, Code.EMPTY, 7)]


def test_a_ping_is_answered_by_a_reset() -> None:
    link = Link()
    for kind, is_multicast in ((NON, False), (CON, True), (ACK, False), (RST, False)):
        assert link.hears(CoapMessage(kind, Code.EMPTY, 7), is_multicast) == []
        assert link.said() == []
    assert link.hears(CoapMessage(CON, Code.EMPTY, 7)) == []
    assert link.said() == [CoapMessage(RST, Code.EMPTY, 7)]


def test_a_response_that_nobody_asked_for_is_rejected() -> None:
    link = Link()
    assert link.hears(notification(7, 1)) == []
    assert link.said() == [CoapMessage(RST, Code.EMPTY, 7)]
    assert link.hears(notification(8, 1, kind=NON)) == []
    assert link.hears(notification(9, 1, kind=ACK)) == []
    assert link.hears(notification(10, 1), is_multicast=True) == []
    assert link.said() == []


# Multicast


def test_multicast_is_answered_within_the_leisure_and_never_with_an_error() -> None:
    link = Link(chance=0.5)
    assert link.hears(get(), is_multicast=True) == [], "confirmable messages are not for multicast"
    request = link.asked(get(8, NON), is_multicast=True)
    assert link.answers(request) == []
    link.passes(2.4)
    assert link.said() == []
    link.passes(0.2)
    assert link.said() == [CoapMessage(NON, Code.CONTENT, 500, b"t", (), b"21")]
    for message_id, code, options in ((9, Code.NOT_FOUND, PATH), (10, Code.CONTENT, ((258, b"\x02"),))):
        link.answers(link.asked(get(message_id, NON, options), is_multicast=True), code)
    assert link.passes(10) == []
    assert link.said() == []


def test_too_many_answers_to_multicast_are_dropped() -> None:
    link = Link(chance=0.5)
    for number in range(20):
        link.answers(link.asked(get(number, NON), is_multicast=True))
    link.passes(5)
    assert len(link.said()) == 16
    assert link.protocol.dropped_number == 4


# Notifications


def test_a_notification_comes_through() -> None:
    link = Link()
    assert link.notifies(1) == NO_KEY
    assert link.said() == [notification(500, 1)]
    assert link.hears(CoapMessage(ACK, Code.EMPTY, 500)) == [Acknowledged(1, b"o")]
    assert link.hears(CoapMessage(ACK, Code.EMPTY, 500)) == []
    assert link.protocol.next_timer() is None


def test_a_notification_is_sent_again_after_twice_the_time_and_given_up() -> None:
    link = Link(chance=0.5)
    link.notifies(1)
    link.notifies(2)
    link.notifies(3, b"p")
    assert link.said() == [notification(500, 1)]
    times = []
    for _ in range(4):
        at = link.protocol.next_timer()
        assert at is not None
        times.append(at - 1000)
        assert link.passes(at - link.now) == []
        assert link.said() == [notification(500, 1)]
    assert times == [2.5, 7.5, 17.5, 37.5]
    assert link.passes(39.9) == []
    assert link.passes(0.2) == [GaveUp(1, b"o"), GaveUp(2, b"o")]
    assert link.said() == [notification(501, 3, b"p")]


def test_a_reset_ends_an_observation() -> None:
    link = Link()
    link.notifies(1)
    link.notifies(2)
    link.notifies(3, b"p")
    link.notifies(4, b"q")
    link.said()
    assert link.hears(CoapMessage(RST, Code.EMPTY, 500)) == [Reset(1, b"o"), GaveUp(2, b"o")]
    assert link.said() == [notification(501, 3, b"p")]
    assert link.hears(CoapMessage(RST, Code.EMPTY, 501)) == [Reset(3, b"p")]
    assert link.said() == [notification(502, 4, b"q")]


def test_an_unconfirmable_notification_goes_at_once_and_can_be_reset() -> None:
    link = Link()
    link.notifies(1)
    assert link.notifies(2, is_confirmable=False) == NO_KEY
    assert link.said() == [notification(500, 1), notification(501, 2, kind=NON)]
    link.notifies(3)
    assert link.hears(CoapMessage(RST, Code.EMPTY, 501)) == [Reset(2, b"o"), GaveUp(3, b"o")]
    assert link.hears(CoapMessage(RST, Code.EMPTY, 501)) == []
    assert link.hears(CoapMessage(ACK, Code.EMPTY, 500)) == [Acknowledged(1, b"o")]


def test_only_the_last_unconfirmable_notifications_can_be_reset() -> None:
    link = Link(max_exchanges=2)
    for key in range(3):
        link.notifies(key, is_confirmable=False)
    assert link.hears(CoapMessage(RST, Code.EMPTY, 500)) == []
    assert link.hears(CoapMessage(RST, Code.EMPTY, 501)) == [Reset(1, b"o")]


def test_unconfirmable_notifications_are_forgotten_when_nobody_can_reset_them() -> None:
    link = Link()
    link.notifies(1, is_confirmable=False)
    link.passes(100)
    link.notifies(2, is_confirmable=False)
    link.passes(100)
    assert link.hears(CoapMessage(RST, Code.EMPTY, 500)) == [Reset(1, b"o")], "with the last of them"
    link.passes(60)
    assert link.hears(CoapMessage(RST, Code.EMPTY, 501)) == []
    assert link.protocol.next_timer() is None


def test_several_may_be_in_flight() -> None:
    link = Link(nstart=2)
    for key in range(3):
        link.notifies(key)
    assert link.said() == [notification(500, 0), notification(501, 1)]
    assert link.hears(CoapMessage(ACK, Code.EMPTY, 501)) == [Acknowledged(1, b"o")]
    assert link.said() == [notification(502, 2)]
    link.now += 1
    assert link.hears(CoapMessage(ACK, Code.EMPTY, 502)) == [Acknowledged(2, b"o")]
    link.notifies(3)
    link.said()
    link.passes(1.1)
    assert link.said() == [notification(500, 0)], "each has its own time"


def test_in_a_full_queue_the_newest_replaces_the_oldest_of_its_observation() -> None:
    link = Link(max_waiting_notifications=2)
    assert [link.notifies(key, token) for key, token in ((1, b"o"), (2, b"p"), (3, b"o"))] == [NO_KEY] * 3
    assert link.notifies(4) == 3
    assert link.notifies(5, b"q") == 5, "none of its own waits: it is dropped itself"


def test_an_observation_that_is_over_sends_nothing_more() -> None:
    link = Link()
    for key, token in ((1, b"o"), (2, b"p"), (3, b"o")):
        link.notifies(key, token)
    link.said()
    assert link.protocol.forget(b"o", link.now) == [1, 3]
    assert link.said() == [notification(501, 2, b"p")]
    assert link.protocol.forget(b"o", link.now) == []
    assert link.hears(CoapMessage(RST, Code.EMPTY, 500)) == []


def test_separate_answers_go_before_notifications() -> None:
    link = Link()
    link.notifies(1)
    link.notifies(2)
    request = link.asked(get())
    link.protocol.acknowledge(request)
    link.said()
    assert link.answers(request) == []
    link.hears(CoapMessage(ACK, Code.EMPTY, 500))
    assert link.said() == [CoapMessage(CON, Code.CONTENT, 501, b"t", (), b"21")]


def test_message_ids_in_flight_are_not_used_again() -> None:
    link = Link()
    link.notifies(1)
    for _ in range(65_535):
        link.notifies(2, is_confirmable=False)
    link.notifies(3, is_confirmable=False)
    assert link.said()[-1].message_id == 501


def test_observe_numbers_grow_and_turn_over() -> None:
    link = Link()
    first = link.protocol.next_observe_number()
    assert first > 1, "0 and 1 mean to register and to deregister"
    assert link.protocol.next_observe_number() == first + 1


def test_who_does_not_take_the_first_answer_does_not_observe() -> None:
    options: Options = ((6, b"\x07"),)
    link = Link()
    unconfirmable = link.asked(get(kind=NON, options=((6, b""), *PATH)))
    link.protocol.respond(unconfirmable, Code.CONTENT, options, b"21", link.now)
    assert link.hears(CoapMessage(RST, Code.EMPTY, 500)) == [Reset(NO_KEY, b"t")]
    separate = link.asked(get(8, options=((6, b""), *PATH)))
    link.protocol.acknowledge(separate)
    link.protocol.respond(separate, Code.CONTENT, options, b"21", link.now)
    assert link.hears(CoapMessage(RST, Code.EMPTY, 501)) == [Reset(NO_KEY, b"t")]
    again = link.asked(get(9, options=((6, b""), *PATH)))
    link.protocol.acknowledge(again)
    link.protocol.respond(again, Code.CONTENT, options, b"21", link.now)
    assert link.passes(EXCHANGE_LIFETIME) == [GaveUp(NO_KEY, b"t")]


# Requests of our own


def request(link: Link, key: int = 9) -> CoapMessage:
    link.protocol.request(Code.GET, PATH, b"", key, link.now)
    (message,) = link.said()
    assert (message.type, message.code, message.options, len(message.token)) == (CON, Code.GET, PATH, 4)
    return message


def response(asked: CoapMessage, kind: int, message_id: int, options: Options = ()) -> CoapMessage:
    return CoapMessage(kind, Code.CONTENT, message_id, asked.token, options, b"21")


def test_a_piggybacked_response_is_ours() -> None:
    link = Link()
    asked = request(link)
    answer = response(asked, ACK, asked.message_id)
    assert link.hears(CoapMessage(ACK, Code.CONTENT, asked.message_id, b"else")) == []
    assert link.hears(CoapMessage(ACK, Code.GET, asked.message_id, asked.token)) == []
    assert link.hears(response(asked, ACK, asked.message_id, ((2001, b""),))) == []
    assert link.hears(answer) == [Response(answer, 9)]
    assert link.hears(answer) == []
    assert link.passes(EXCHANGE_LIFETIME) == []
    assert link.said() == []


@pytest.mark.parametrize("kind", [CON, NON])
@pytest.mark.parametrize("is_acknowledged", [True, False])
def test_a_separate_response_is_ours_and_acknowledged(kind: int, is_acknowledged: bool) -> None:
    link = Link()
    asked = request(link)
    if is_acknowledged:
        assert link.hears(CoapMessage(ACK, Code.EMPTY, asked.message_id)) == []
    answer = response(asked, kind, 77, ((12, b""), (2000, b"")))
    assert link.hears(answer) == [Response(response(asked, kind, 77, ((12, b""),)), 9)]
    assert link.hears(answer) == []
    assert link.said() == ([CoapMessage(ACK, Code.EMPTY, 77)] * 2 if kind == CON else [])
    assert link.passes(EXCHANGE_LIFETIME) == []
    assert link.said() == []


def test_an_elective_option_in_a_piggybacked_response_is_left_out() -> None:
    link = Link()
    asked = request(link)
    assert link.hears(response(asked, ACK, asked.message_id, ((2000, b""),))) == [
        Response(response(asked, ACK, asked.message_id), 9)
    ]


def test_a_separate_response_with_a_critical_option_that_is_not_known_is_rejected() -> None:
    link = Link()
    asked = request(link)
    assert link.hears(response(asked, CON, 77, ((2001, b""),))) == []
    assert link.said() == [CoapMessage(RST, Code.EMPTY, 77)]


def test_a_response_without_room_is_dropped_and_comes_again() -> None:
    link = Link(max_exchanges=1)
    asked = request(link)
    mine = link.asked(get(1))
    assert link.hears(response(asked, CON, 77)) == []
    assert link.said() == []
    link.answers(mine)
    assert link.hears(response(asked, CON, 77)) != []


def test_a_request_that_nobody_answers_is_given_up() -> None:
    link = Link()
    asked = request(link)
    assert link.passes(100) == [GaveUp(9, asked.token)]
    link = Link()
    asked = request(link)
    link.hears(CoapMessage(ACK, Code.EMPTY, asked.message_id))
    assert link.passes(200) == []
    assert link.passes(100) == [GaveUp(9, asked.token)]
    link = Link()
    asked = request(link)
    assert link.hears(CoapMessage(RST, Code.EMPTY, asked.message_id)) == [Reset(9, asked.token)]
    assert link.passes(EXCHANGE_LIFETIME + 20) == []


def test_a_request_that_never_had_its_turn_is_given_up_too() -> None:
    link = Link(ack_timeout_seconds=30, ack_random_factor=1)
    for key in range(3):
        link.protocol.request(Code.GET, PATH, b"", key, link.now)
    events = link.passes(3000)
    assert [event.key for event in events if isinstance(event, GaveUp)] == [0, 1, 2]
    assert link.protocol.next_timer() is None


def test_only_so_many_requests_are_asked_at_once() -> None:
    link = Link(max_exchanges=1)
    asked = request(link)
    with pytest.raises(QuotaExceeded):
        link.protocol.request(Code.GET, PATH, b"", 2, link.now)
    link.hears(response(asked, ACK, asked.message_id))
    assert request(link, 3).token == asked.token


def test_tokens_in_use_are_not_given_again() -> None:
    link = Link()
    link.chances = [0.5, 0.0, 0.5]
    link.protocol.request(Code.GET, PATH, b"", 1, link.now)
    link.protocol.request(Code.GET, PATH, b"", 2, link.now)
    (first,) = link.said()
    answer = response(first, ACK, first.message_id)
    assert link.hears(answer) == [Response(answer, 1)]
    (second,) = link.said()
    assert (first.token, second.token) == (b"\x80\0\0\0", b"\x80\0\0\1")


# Time


def test_what_nobody_repeats_any_more_is_swept_out_in_one_go() -> None:
    link = Link()
    for number in range(5):
        link.answers(link.asked(get(number)))
        link.now += 1
    link.asked(get(9, NON))
    at = link.protocol.next_timer()
    assert at == 1000 + EXCHANGE_LIFETIME
    assert link.passes(EXCHANGE_LIFETIME + 20) == []
    assert link.protocol.next_timer() is None


def test_a_request_that_is_never_answered_is_forgotten_in_the_end() -> None:
    link = Link(max_exchanges=1)
    link.asked(get(1))
    link.passes(EXCHANGE_LIFETIME + 20)
    assert link.protocol.next_timer() is None
    assert link.hears(get(2)) != []


def test_a_response_ends_its_own_request_only() -> None:
    link = Link(nstart=2)
    link.chances = [0.1, 0.1, 0.2, 0.2]
    first, second = request(link, 1), request(link, 2)
    assert link.hears(response(second, NON, 77)) == [Response(response(second, NON, 77), 2)]
    link.passes(3)
    assert link.said() == [first]


def test_a_timer_that_comes_early_does_nothing() -> None:
    link = Link()
    link.notifies(1)
    link.said()
    assert link.protocol.handle_timer(link.now) == []
    assert link.said() == []


def test_requests_are_given_up_each_in_its_time() -> None:
    link = Link()
    first = request(link, 1)
    link.hears(CoapMessage(ACK, Code.EMPTY, first.message_id))
    link.passes(100)
    link.chances = [0.5]
    second = request(link, 2)
    link.hears(CoapMessage(ACK, Code.EMPTY, second.message_id))
    assert link.passes(200) == [GaveUp(1, first.token)]
    assert link.passes(100) == [GaveUp(2, second.token)]
