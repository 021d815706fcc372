"""The door without DTLS: nobody is flooded in another's name, nobody is anybody by a spoofed address, and a question to
all nodes is answered with as good as nothing.
"""

from __future__ import annotations

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.settings import CoapSettings, Settings
from tests.support.coap_book import CoapBook, Device

OPEN = Settings(coap=CoapSettings(nosec_enabled=True, multicast_enabled=True, multicast_answers_per_second=2.0))
ECHO = OptionNumber.ECHO


def book() -> CoapBook:
    hub = CoapBook(OPEN)
    hub.client("pen").publishes("a", b"x" * 1000, retain=True)
    return hub


def proves(stranger: Device, path: str = "a") -> CoapMessage:
    """Ask, repeat the challenge, and give the answer."""
    challenge = stranger.asks(Code.GET, path)
    assert challenge.code == Code.UNAUTHORIZED
    return stranger.asks(Code.GET, path, b"", (ECHO, challenge.option(ECHO) or b""))


def test_an_address_that_repeats_what_it_was_sent_is_the_device_of_that_address() -> None:
    hub = book()
    lamp = hub.stranger()
    assert proves(lamp).payload == b"x" * 1000
    assert [session.client_id for session in hub.hub.sessions_of("at-192.0.2.7")] == ["at-192.0.2.7/coap/1"]
    assert lamp.asks(Code.PUT, "b", b"1").code == Code.CREATED


@pytest.mark.parametrize("path", ["a", ".well-known/core", "devices/somebody/a/long/path/to/something"])
@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
def test_before_that_it_gets_three_times_what_it_sent_at_most_and_nothing_happens(path: str, kind: Type) -> None:
    hub = book()
    spoofed = hub.stranger("198.51.100.1")
    for code in (Code.GET, Code.PUT, Code.POST, Code.DELETE, Code.FETCH):
        request = spoofed.sends(code, path, type=kind)
        sent = spoofed.link.sent
        assert sum(map(len, sent)) <= 3 * len(wire.encode(request))
        assert wire.decode(sent[0]).code == Code.UNAUTHORIZED
        sent.clear()
    assert hub.hub.sessions_of("at-198.51.100.1") == []
    assert hub.hub.retained_count == 1
    assert hub.refusals() == [], "who is not there is not worth a line"


def test_a_challenge_for_one_address_proves_no_other_and_not_for_ever() -> None:
    hub = book()
    mine, spoofed = hub.stranger(), hub.stranger("198.51.100.1")
    echo = mine.asks(Code.GET, "a").option(ECHO) or b""
    assert spoofed.asks(Code.GET, "a", b"", (ECHO, echo)).code == Code.UNAUTHORIZED
    assert mine.asks(Code.GET, "a", b"", (ECHO, b"guess")).code == Code.UNAUTHORIZED
    hub.passes(130)
    assert mine.asks(Code.GET, "a", b"", (ECHO, echo)).code == Code.UNAUTHORIZED
    assert proves(mine).code == Code.CONTENT
    hub.passes(61)
    assert mine.asks(Code.GET, "a").code == Code.UNAUTHORIZED


def test_where_that_door_is_for_oscore_alone_an_address_is_nobody() -> None:
    hub = CoapBook(Settings(coap=CoapSettings(oscore_enabled=True)))
    answer = proves(hub.stranger())
    assert (answer.code, answer.payload[:14]) == (Code.UNAUTHORIZED, b"no credentials")


def ask_all(device: Device, path: str, code: int = Code.GET, type: int = Type.NON, query: bytes = b"") -> None:
    options = [(int(OptionNumber.URI_PATH), level.encode()) for level in path.split("/")]
    if query:
        options.append((int(OptionNumber.URI_QUERY), query))
    device._message_id += 1
    message = CoapMessage(type, code, device._message_id, b"all", tuple(options))
    device.sends_bytes(wire.encode(message), is_multicast=True)


def test_who_asks_all_nodes_hears_after_a_while_that_here_is_a_hub_and_no_topic() -> None:
    hub = book()
    asking = hub.stranger()
    ask_all(asking, ".well-known/core")
    asking.gets_nothing()
    for _ in range(25):
        hub.passes(0.25)
    (answer,) = asking.messages()
    assert (answer.type, answer.code, answer.token) == (Type.NON, Code.CONTENT, b"all")
    assert answer.payload == b'</>;rt="lockgate.hub";title="each topic is a resource"'


def test_errors_and_confirmable_questions_to_all_nodes_are_answered_by_silence() -> None:
    hub = book()
    asking = hub.stranger()
    ask_all(asking, "a")
    ask_all(asking, "nothing")
    ask_all(asking, ".well-known/core", Code.PUT)
    ask_all(asking, ".well-known/core", type=Type.CON)
    ask_all(asking, ".well-known/core", query=b"rt=something.else")
    ask_all(asking, ".well-known/core", query=b"\xff")
    hub.passes(10)
    asking.gets_nothing()


def test_of_many_questions_to_all_nodes_few_are_answered() -> None:
    hub = book()
    asking = [hub.stranger(f"198.51.100.{number}") for number in range(20)]
    for each in asking:
        ask_all(each, ".well-known/core")
    hub.passes(10)
    assert sum(len(each.messages()) for each in asking) == 2
