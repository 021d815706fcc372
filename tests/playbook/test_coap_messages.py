"""The figures of RFC 7252, 7641, 7959 and 7967 as conversations with the message layer and the blocks of a server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lockgate.adapters.coap.exchange import Acknowledged, GaveUp, Reset
from lockgate.settings import CoapSettings
from tests.support.coap import ServerEnd
from tests.support.coap_playbook import BODY, Conversation

pytestmark = pytest.mark.requirement("C1")


def server(resources: dict[bytes, bytes] | None = None, **settings: Any) -> Conversation:
    """Give a conversation with a server whose own message ids begin at 0x01f4 and who waits 2 s for what it sends."""
    end = ServerEnd(msgspec.convert(settings, CoapSettings), lambda: 0.0)
    end.resources = resources or {}
    return Conversation(end)


def weather() -> Conversation:
    return server({b"temperature": b"22.3 C"})


# RFC 7252, appendix A


def test_figure_16_a_piggybacked_response() -> None:
    weather().play("""
        > CON GET 7d34 /temperature
        < ACK 2.05 7d34 etag=00000000 "22.3 C"
    """)


def test_figure_17_a_piggybacked_response_with_a_token() -> None:
    weather().play("""
        > CON GET 7d35 t=20 /temperature
        < ACK 2.05 7d35 t=20 etag=00000000 "22.3 C"
    """)


def test_figure_18_and_19_a_request_or_its_answer_is_lost() -> None:
    lost = weather()
    lost.play("""
        > CON PUT 7d37 t=42 /temperature "23"
        < ACK 2.04 7d37 t=42
        ~ 2
        > CON PUT 7d37 t=42 /temperature "23"   # its answer did not come
        < ACK 2.04 7d37 t=42
        ~ 4
        > CON PUT 7d37 t=42 /temperature "23"
        < ACK 2.04 7d37 t=42
    """)
    assert lost.end.acted == [(3, b"23")]


def test_figure_20_and_21_a_separate_response_and_its_loss() -> None:
    slow = weather()
    slow.end.is_slow = True
    slow.play("""
        > CON GET 7d38 t=53 /temperature
        ~ 0.4
        > CON GET 7d38 t=53 /temperature        # too early to say anything
        ~ 0.2
        < ACK 0.00 7d38
        > CON GET 7d38 t=53 /temperature        # the acknowledgement was lost
        < ACK 0.00 7d38
    """)
    slow.end.answer_late(slow.now)
    slow.play("""
        < CON 2.05 01f4 t=53 etag=00000000 "22.3 C"
        ~ 2
        < CON 2.05 01f4 t=53 etag=00000000 "22.3 C"
        ~ 4
        < CON 2.05 01f4 t=53 etag=00000000 "22.3 C"
        > ACK 0.00 01f4
        ~ 300
    """)


def test_figure_22_nothing_is_confirmed() -> None:
    weather().play("""
        > NON GET 7d40 t=75 /temperature
        < NON 2.05 01f4 t=75 etag=00000000 "22.3 C"
        > NON GET 7d40 t=75 /temperature        # the same again: in silence
        > NON GET 7d41 t=75 /temperature
        < NON 2.05 01f5 t=75 etag=00000000 "22.3 C"
    """)


def test_figure_24_multicast_is_answered_within_the_leisure_and_not_by_who_has_nothing() -> None:
    group = weather()
    group.play("> NON GET 7d41 t=76 /temperature", is_multicast=True)
    group.play('~ 0\n < NON 2.05 01f4 t=76 etag=00000000 "22.3 C"')
    group.play("> NON GET 7d42 t=77 /humidity", is_multicast=True)
    group.play("> CON GET 7d43 t=78 /temperature", is_multicast=True)
    group.play("> CON 0.00 7d44", is_multicast=True)
    group.play("> NON GET 7d45 t=78 /temperature o=9:", is_multicast=True)
    group.play("~ 300")


def test_section_4_3_a_ping() -> None:
    weather().play("""
        > CON 0.00 0007
        < RST 0.00 0007
        > NON 0.00 0008
        > ACK 0.00 0009
        > RST 0.00 000a
    """)


def test_section_5_4_1_options_that_are_not_known() -> None:
    weather().play("""
        > CON GET 0001 t=01 /temperature o=65000:00
        < ACK 2.05 0001 t=01 etag=00000000 "22.3 C"
        > CON GET 0002 t=01 /temperature o=65001:00
        < ACK 4.02 0002 t=01 "option 65001 is critical, and not known or not well-formed here"
        > NON GET 0003 t=01 /temperature o=65001:00
        < RST 0.00 0003
        > CON GET 0004 t=01 o=35:636f61703a2f2f78
        < ACK 5.05 0004 t=01 "this is no proxy"
    """)


def test_section_5_3_2_responses_to_nothing() -> None:
    weather().play("""
        > CON 2.05 0001 t=01 "x"
        < RST 0.00 0001
        > NON 2.05 0002 t=01 "x"
        > ACK 2.05 0003 t=01 "x"
    """)


# RFC 7641


def test_figure_2_an_observation() -> None:
    sensor = weather()
    sensor.play("""
        > CON GET 1633 t=4a /temperature obs=0
        < ACK 2.05 1633 t=4a etag=00000000 obs=2 "22.3 C"
    """)
    sensor.end.publish(b"temperature", b"22.6 C", False, sensor.now)
    sensor.play('< NON 2.05 01f4 t=4a etag=00000001 obs=3 "22.6 C"')
    sensor.end.publish(b"temperature", b"22.7 C", True, sensor.now)
    sensor.play("""
        < CON 2.05 01f5 t=4a etag=00000002 obs=4 "22.7 C"
        > ACK 0.00 01f5
        > CON GET 1634 t=4a /temperature obs=1      # it wants no more
        < ACK 2.05 1634 t=4a etag=00000002 "22.7 C"
    """)
    sensor.end.publish(b"temperature", b"22.8 C", True, sensor.now)
    sensor.play("~ 300")
    assert sensor.end.settled == [Acknowledged(2, b"\x4a")]


def test_section_3_6_a_reset_ends_an_observation() -> None:
    for is_confirmable, kind in ((True, "CON"), (False, "NON")):
        sensor = weather()
        sensor.play("""
            > CON GET 1633 t=4a /temperature obs=0
            < ACK 2.05 1633 t=4a etag=00000000 obs=2 "22.3 C"
        """)
        sensor.end.publish(b"temperature", b"22.6 C", is_confirmable, sensor.now)
        sensor.play(f"""
            < {kind} 2.05 01f4 t=4a etag=00000001 obs=3 "22.6 C"
            > RST 0.00 01f4
        """)
        sensor.end.publish(b"temperature", b"22.7 C", True, sensor.now)
        sensor.play("~ 300")
        assert sensor.end.settled == [Reset(1, b"\x4a")]


def test_section_4_5_who_does_not_acknowledge_is_gone() -> None:
    sensor = weather()
    sensor.play("""
        > CON GET 1633 t=4a /temperature obs=0
        < ACK 2.05 1633 t=4a etag=00000000 obs=2 "22.3 C"
    """)
    sensor.end.publish(b"temperature", b"22.6 C", True, sensor.now)
    sensor.end.publish(b"temperature", b"22.7 C", True, sensor.now)
    sensor.play("""
        < CON 2.05 01f4 t=4a etag=00000001 obs=3 "22.6 C"
        ~ 2
        < CON 2.05 01f4 t=4a etag=00000001 obs=3 "22.6 C"
        ~ 4
        < CON 2.05 01f4 t=4a etag=00000001 obs=3 "22.6 C"
        ~ 8
        < CON 2.05 01f4 t=4a etag=00000001 obs=3 "22.6 C"
        ~ 16
        < CON 2.05 01f4 t=4a etag=00000001 obs=3 "22.6 C"
        ~ 300
    """)
    assert sensor.end.settled == [GaveUp(1, b"\x4a"), GaveUp(2, b"\x4a")]
    assert sensor.end.observers == {}


# RFC 7959


def test_figure_2_a_simple_blockwise_get() -> None:
    server({b"status": BODY[:280]}, block_bytes=128).play("""
        > CON GET 04d2 /status
        < ACK 2.05 04d2 etag=00000000 2:0/1/128 size2=280 0-128
        > CON GET 04d3 /status 2:1/0/128
        < ACK 2.05 04d3 etag=00000000 2:1/1/128 128-256
        > CON GET 04d4 /status 2:2/0/128
        < ACK 2.05 04d4 etag=00000000 2:2/0/128 256-280
    """)


def test_figure_3_early_negotiation_of_the_response() -> None:
    server({b"status": BODY[:150]}, block_bytes=128).play("""
        > CON GET 04d2 /status 2:0/0/64
        < ACK 2.05 04d2 etag=00000000 2:0/1/64 size2=150 0-64
        > CON GET 04d3 /status 2:1/0/64
        < ACK 2.05 04d3 etag=00000000 2:1/1/64 64-128
        > CON GET 04d4 /status 2:2/0/64
        < ACK 2.05 04d4 etag=00000000 2:2/0/64 128-150
    """)


def test_figure_4_to_6_late_negotiation_and_losses() -> None:
    server({b"status": BODY[:200]}, block_bytes=128).play("""
        > CON GET 04d2 /status
        < ACK 2.05 04d2 etag=00000000 2:0/1/128 size2=200 0-128
        > CON GET 04d3 /status 2:2/0/64
        < ACK 2.05 04d3 etag=00000000 2:2/1/64 128-192
        > CON GET 04d3 /status 2:2/0/64         # its answer did not come
        < ACK 2.05 04d3 etag=00000000 2:2/1/64 128-192
        > CON GET 04d4 /status 2:3/0/64
        < ACK 2.05 04d4 etag=00000000 2:3/0/64 192-200
        > CON GET 04d5 /status 2:4/0/64
        < ACK 4.00 04d5 "the body ends at 200 bytes"
    """)


def test_figure_7_a_simple_blockwise_put() -> None:
    options = server(block_bytes=128)
    options.play("""
        > CON PUT 04d2 /options 1:0/1/128 0-128
        < ACK 2.31 04d2 1:0/1/128
        > CON PUT 04d3 /options 1:1/1/128 128-256
        < ACK 2.31 04d3 1:1/1/128
        > CON PUT 04d3 /options 1:1/1/128 128-256       # its answer did not come
        < ACK 2.31 04d3 1:1/1/128
        > CON PUT 04d4 /options 1:2/0/128 256-300
        < ACK 2.01 04d4 1:2/0/128
        > CON PUT 04d4 /options 1:2/0/128 256-300
        < ACK 2.01 04d4 1:2/0/128
    """)
    assert options.end.acted == [(3, BODY[:300])]


def test_figure_9_early_negotiation_of_the_request() -> None:
    options = server(block_bytes=32)
    options.play("""
        > CON PUT 04d2 /options 1:0/1/128 0-128
        < ACK 2.31 04d2 1:0/1/32
        > CON PUT 04d3 /options 1:4/1/32 128-160
        < ACK 2.31 04d3 1:4/1/32
        > CON PUT 04d4 /options 1:5/0/32 160-170
        < ACK 2.01 04d4 1:5/0/32
    """)
    assert options.end.acted == [(3, BODY[:170])]


def test_section_2_9_incomplete_and_too_large() -> None:
    options = server(max_body_bytes=1024)
    options.play("""
        > CON PUT 0001 /options 1:1/1/512 512-1024
        < ACK 4.08 0001 "the blocks before this one are not here: begin again with the first"
        > CON PUT 0002 /options 1:0/1/512 size1=1025 0-512
        < ACK 4.13 0002 size1=1024 "a body has at most 1024 bytes"
        > CON PUT 0003 /options 1:0/1/512 size1=1024 0-512
        < ACK 2.31 0003 1:0/1/512
        ~ 94
        > CON PUT 0004 /options 1:1/0/512 512-600
        < ACK 4.08 0004 "the blocks before this one are not here: begin again with the first"
        > CON PUT 0005 /options 1:0/1/512 0-500
        < ACK 4.00 0005 "a block that others follow has 512 bytes, not 500"
        > CON PUT 0006 /options o=27:0f "x"
        < ACK 4.00 0006 "the size exponent 7 of a Block option is reserved"
    """)
    assert options.end.acted == []


def test_figure_12_an_observation_in_blocks() -> None:
    status = server({b"status": BODY[:150]}, block_bytes=128)
    status.play("""
        > CON GET 0001 t=fb /status obs=0
        < ACK 2.05 0001 t=fb etag=00000000 obs=2 2:0/1/128 size2=150 0-128
        > CON GET 0002 t=fc /status 2:1/0/128
        < ACK 2.05 0002 t=fc etag=00000000 2:1/0/128 128-150
    """)
    status.end.publish(b"status", BODY[:140], True, status.now)
    status.play("""
        < CON 2.05 01f4 t=fb etag=00000001 obs=3 2:0/1/128 size2=140 0-128
        > ACK 0.00 01f4
        > CON GET 0003 t=fd /status 2:1/0/128
        < ACK 2.05 0003 t=fd etag=00000001 2:1/0/128 128-140
    """)


def test_rfc_9175_section_3_two_bodies_for_one_resource_are_not_mixed() -> None:
    options = server()
    options.play("""
        > CON PUT 0001 /options 1:0/1/16 tag=01 0-16
        < ACK 2.31 0001 1:0/1/16
        > CON PUT 0002 /options 1:0/1/16 tag=02 16-32
        < ACK 2.31 0002 1:0/1/16
        > CON PUT 0003 /options 1:1/0/16 tag=01 32-48
        < ACK 2.01 0003 1:1/0/16
        > CON PUT 0004 /options 1:1/0/16 tag=02 48-64
        < ACK 2.04 0004 1:1/0/16
    """)
    assert options.end.acted == [(3, BODY[:16] + BODY[32:48]), (3, BODY[16:32] + BODY[48:64])]


# RFC 7967


def test_answers_that_are_waived_are_not_sent() -> None:
    weather().play("""
        > NON PUT 0001 /temperature no-response=2 "1"
        > NON GET 0002 /humidity no-response=2
        < NON 4.04 01f4 "nothing is here"
        > NON GET 0003 /humidity no-response=26
        > CON PUT 0004 /temperature no-response=26 "2"
        < ACK 0.00 0004
        > CON PUT 0005 /temperature no-response=0 "3"
        < ACK 2.04 0005
    """)
