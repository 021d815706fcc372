"""`lockgate mqtt decode`: hex, files and captures in, packets out."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.support.cli import CommandLine
from tests.unit.lab.test_captures import SYN, capture, segment

PUBLISH = "30 0a 00 04 74 65 6d 70 32 31 2e 35"


def test_hex_becomes_a_packet_for_people(bare: CommandLine) -> None:
    lines = bare.does("mqtt", "decode", *PUBLISH.split()).out.splitlines()
    assert lines[0] == "PUBLISH  12 bytes at 0, MQTT 3.1.1"
    assert lines[1].split() == ["0", "30", "fixed", "header", "PUBLISH"]
    assert lines[2].strip().startswith("0011 ....")
    assert "type 3: PUBLISH" in lines[2]
    assert lines[-2].endswith("payload           4 bytes: '21.5'")


@pytest.mark.parametrize(
    "spelled",
    [
        PUBLISH,
        PUBLISH.replace(" ", ""),
        PUBLISH.replace(" ", ":").upper(),
        "0x" + PUBLISH.replace(" ", " 0x"),
        PUBLISH.replace(" ", ", "),
    ],
)
def test_hex_may_be_spelled_as_tools_print_it(bare: CommandLine, spelled: str) -> None:
    (packet,) = bare.does("mqtt", "decode", "--json", spelled).json()
    assert packet["packet"] == "PUBLISH"
    assert packet["fields"][-1] == {
        "offset": 8, "hex": "32 31 2e 35", "name": "payload", "meaning": "4 bytes: '21.5'", "bits": [],
    }  # fmt: skip


def test_standard_input_and_files_hold_bytes_or_hex(bare: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = bytes.fromhex(PUBLISH)
    (bare.folder / "raw").write_bytes(raw)
    (bare.folder / "hex").write_text(PUBLISH + "\n")
    expected = bare.does("mqtt", "decode", "--json", PUBLISH).json()
    assert bare.does("mqtt", "decode", "--json", bare.folder / "raw").json() == expected
    assert bare.does("mqtt", "decode", "--json", bare.folder / "hex").json() == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    assert bare.does("mqtt", "decode", "--json", "-").json() == expected


def test_the_version_can_be_said(bare: CommandLine) -> None:
    (packet,) = bare.does("mqtt", "decode", "--json", "--mqtt-version", "5.0", "30 05 00 01 61 00 78").json()
    assert packet["version"] == "5.0"
    assert "property length" in [field["name"] for field in packet["fields"]]


def test_a_packet_that_is_wrong_is_shown_and_fails(bare: CommandLine) -> None:
    done = bare("mqtt", "decode", "36 05 00 01 61 00 01")
    assert done.code == 1
    assert "wrong: a PUBLISH has both QoS bits set (0x81 malformed packet)" in done.out
    assert bare("mqtt", "decode", "--json", "30 0a 00").json()[0]["problem"]


def test_a_long_payload_is_shown_in_part(bare: CommandLine) -> None:
    out = bare.does("mqtt", "decode", "30 c8 01 00 01 61" + " ff" * 197).out
    assert "... 133 more" in out
    assert "remaining length  200 = 72 + 1 x 128" in out


def connected(folder: Path) -> Path:
    """Write a capture of a 5.0 connection: CONNECT, CONNACK, a PUBLISH cut over two segments."""
    connect = bytes.fromhex("100e00044d5154540502003c0000016b")
    path = folder / "some.pcap"
    path.write_bytes(
        capture(
            segment(True, 9, flags=SYN),
            segment(True, 10, connect),
            segment(False, 100, bytes.fromhex("2003000000")),
            segment(True, 10 + len(connect), bytes.fromhex("300500")),
            segment(True, 13 + len(connect), bytes.fromhex("01610078")),
        )
    )
    return path


def test_a_capture_gives_the_packets_of_both_sides_in_their_order(bare: CommandLine) -> None:
    facts = bare.does("mqtt", "decode", "--json", connected(bare.folder)).json()
    assert [(each["packet"], each["is_from_client"], each["version"]) for each in facts] == [
        ("CONNECT", True, "5.0"),
        ("CONNACK", False, "5.0"),
        ("PUBLISH", True, "5.0"),
    ]
    out = bare.does("mqtt", "decode", connected(bare.folder)).out
    assert "127.0.0.1:40000 > 127.0.0.1:1883, 2027-01-15 08:00:01 UTC" in out
    assert "127.0.0.1:1883 > 127.0.0.1:40000, 2027-01-15 08:00:02 UTC" in out


def test_a_capture_of_tls_says_that_it_cannot_be_read(bare: CommandLine) -> None:
    path = bare.folder / "tls.pcap"
    path.write_bytes(capture(segment(True, 9, flags=SYN), segment(True, 10, b"\x16\x03\x01\x00\x05hello")))
    done = bare("mqtt", "decode", path)
    assert done.code == 1
    assert "TLS, 10 bytes: encrypted" in done.out
    assert "holds no readable MQTT" in done.err


def test_what_is_no_hex_and_no_file_is_refused(bare: CommandLine) -> None:
    assert "no bytes in hexadecimal" in bare.refuses("mqtt", "decode", "3")
    assert "no bytes in hexadecimal" in bare.refuses("mqtt", "decode", "no-such-file.pcap")
    (bare.folder / "empty").touch()
    assert "is empty" in bare.refuses("mqtt", "decode", bare.folder / "empty")
