"""What passes between office and gate comes out as it went in, or not at all."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.adapters.coap.handed import HEAD_BYTES, OnBehalf, Reply, decode_reply, decode_request, framed

ASKED = OnBehalf("lamp", "x509", 7, None, "192.0.2.7", 4711, 3, ((11, b"a"),), b"21")


def test_a_frame_is_its_length_and_the_record() -> None:
    frame = framed(ASKED)
    assert int.from_bytes(frame[:HEAD_BYTES], "big") == len(frame) - HEAD_BYTES
    assert decode_request(frame[HEAD_BYTES:]) == ASKED
    reply = Reply(69, ((12, b"\x32"),), b"{}")
    assert decode_reply(framed(reply)[HEAD_BYTES:]) == reply


def test_it_names_who_asks() -> None:
    principal = ASKED.principal("lamp/http")
    assert (principal.device, principal.client_id, principal.credential_id) == ("lamp", "lamp/http", 7)


def test_what_is_no_record_is_not_taken() -> None:
    for data in (b"", b"\x90", b"junk", msgspec.msgpack.encode(["lamp"])):
        with pytest.raises(msgspec.MsgspecError):
            decode_request(data)
        with pytest.raises(msgspec.MsgspecError):
            decode_reply(data)
