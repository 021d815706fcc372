"""`lockgate mqtt`: tools for MQTT itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from lockgate.adapters.mqtt.anatomy import Dissected, Dissector, dissect
from lockgate.adapters.mqtt.packets import V5, V311
from lockgate.cli.output import Noun, console, json_option, moment, print_json, safe
from lockgate.errors import InvalidSettings
from lockgate.lab.captures import Connection, is_capture, read_connections

MAX_BYTES = 268_435_456
LINE_BYTES = 8
SHOWN_BYTES = 64
BYTES_WIDTH = 3 * LINE_BYTES + 2
VERSIONS = {"3.1.1": V311, "5.0": V5}
CONNECT_BYTE = 0x10
TLS_HANDSHAKE = b"\x16\x03"


@click.group(cls=Noun, short_help="Take MQTT packets apart.")
def mqtt() -> None:
    """Tools for MQTT itself."""


@mqtt.command(short_help="Show MQTT packets bit by bit, from hex or from a capture.")
@click.argument("what", metavar="HEX|FILE|-", nargs=-1, required=True)
@click.option(
    "--mqtt-version", "version", type=click.Choice(list(VERSIONS)),
    help="What is spoken, where no CONNECT says it; otherwise the version that finds fewer mistakes.",
)  # fmt: skip
@json_option
def decode(what: tuple[str, ...], version: str | None, as_json: bool) -> None:
    """Show MQTT packets field by field and bit by bit.

    HEX is bytes as hexadecimal digits, with or without spaces, colons and 0x. FILE is a capture (pcap or pcapng, as
    tcpdump and Wireshark write it), or a file with the bytes themselves or with hexadecimal digits. - reads one of
    these from standard input. Exit code 1 when something in it is not MQTT.

    \b
    lockgate mqtt decode 30 0a 00 04 74 65 6d 70 32 31 2e 35
    tcpdump -i lo -w - -c 20 port 1883 | lockgate mqtt decode -
    """
    data, is_given = _read(what)
    wanted = VERSIONS[version] if version is not None else None
    if is_capture(data):
        is_good = _show_capture(read_connections(data), wanted, as_json)
    else:
        raw = data if not is_given and not _is_hex_text(data) else _from_hex(data.decode("ascii", "replace"))
        is_good = _show_packets(dissect(raw, wanted), as_json)
    if not is_good:
        sys.exit(1)


# What is given


def _read(what: tuple[str, ...]) -> tuple[bytes, bool]:
    """Give the bytes, and whether they are an argument (then they must be hexadecimal digits)."""
    if what == ("-",):
        return _bounded(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"), False
    if len(what) == 1 and os.path.isfile(what[0]):  # long hex is no path: Path.is_file would raise
        with Path(what[0]).open("rb") as file:
            return _bounded(file.read(MAX_BYTES + 1), what[0]), False
    return " ".join(what).encode("utf-8", "replace"), True


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise InvalidSettings(
            f"{name} holds more than {MAX_BYTES} bytes", fix="cut it: tcpdump -r FILE -c COUNT -w PART"
        )
    if not data:
        raise InvalidSettings(
            f"{name} is empty", fix="give hexadecimal digits, or a capture: tcpdump -w FILE port 1883"
        )
    return data


def _is_hex_text(data: bytes) -> bool:
    digits = _digits(data.decode("ascii", "replace"))
    return len(digits) % 2 == 0 and bool(digits) and all(digit in "0123456789abcdef" for digit in digits)


def _digits(text: str) -> str:
    words = (word.removeprefix("0x").removeprefix("\\x") for word in text.lower().replace(",", " ").split())
    return "".join(words).replace(":", "").replace("\\x", "")


def _from_hex(text: str) -> bytes:
    digits = _digits(text)
    try:
        return bytes.fromhex(digits)
    except ValueError as error:
        name = text if len(text) < 40 else text[:40] + "..."
        fix = "give pairs of hexadecimal digits, the path of a capture, or - for standard input"
        raise InvalidSettings(f"{name!r} is no file and no bytes in hexadecimal", fix=fix) from error


# Packets


def _show_packets(packets: list[Dissected], as_json: bool) -> bool:
    if as_json:
        print_json([_facts(packet) for packet in packets])
    else:
        out = console()
        for packet in packets:
            _print_packet(out, packet)
    return not any(packet.problem for packet in packets)


def _facts(packet: Dissected, **more: Any) -> dict[str, Any]:
    fields = [
        {
            "offset": field.offset,
            "hex": field.data.hex(" "),
            "name": field.name,
            "meaning": field.meaning,
            "bits": [{"pattern": bits.pattern, "meaning": bits.meaning} for bits in field.bits],
        }
        for field in packet.fields
    ]
    return {
        **more,
        "packet": packet.name,
        "offset": packet.offset,
        "bytes": packet.size,
        "version": packet.version,
        "problem": packet.problem,
        "fields": fields,
    }


def _print_packet(out: Console, packet: Dissected, way: str = "") -> None:
    out.print(f"[bold]{packet.name}[/]  {packet.size} bytes at {packet.offset}, MQTT {packet.version}{way}")
    width = max((len(field.name) for field in packet.fields), default=0)
    for field in packet.fields:
        rows = _hex_rows(field.data)
        name = f"[cyan]{safe(field.name)}[/]{'':<{width - len(field.name)}}"
        out.print(f"{field.offset:>7}  {next(rows):<{BYTES_WIDTH}}{name}  {safe(field.meaning)}")
        for bits in field.bits:
            out.print(f"{'':>9}{bits.pattern:<{BYTES_WIDTH}}  {safe(bits.meaning)}")
        for row in rows:
            out.print(f"{'':>9}{row}")
    if packet.problem:
        out.print(f"         [bold red]wrong:[/] {safe(packet.problem)}")
    out.print()


def _hex_rows(data: bytes) -> Iterator[str]:
    """Give a field's bytes as lines of hexadecimal digits; a long one's end is left out."""
    for start in range(0, min(len(data), SHOWN_BYTES) or 1, LINE_BYTES):
        yield data[start : start + LINE_BYTES].hex(" ")
    if len(data) > SHOWN_BYTES:
        yield f"... {len(data) - SHOWN_BYTES} more"


# Captures


def _show_capture(connections: list[Connection], version: int | None, as_json: bool) -> bool:
    facts: list[dict[str, Any]] = []
    out = console()
    is_good = True
    count = 0
    for connection in connections:
        name = f"{connection.client} > {connection.server}"
        kind = _kind_of(connection)
        if kind != "mqtt":
            if not as_json and kind:
                out.print(f"[bold]{name}[/]  {kind}\n")
            continue
        for packet, at, is_from_client in _in_time(connection, version):
            count += 1
            is_good = is_good and not packet.problem
            if as_json:
                facts.append(_facts(packet, connection=name, at=at, is_from_client=is_from_client))
            else:
                arrow = (
                    f"{connection.client} > {connection.server}"
                    if is_from_client
                    else (f"{connection.server} > {connection.client}")
                )
                _print_packet(out, packet, f", {arrow}, {moment(at)}")
        for gap in connection.missing:
            if not as_json:
                out.print(f"[yellow]{name}: {gap}[/]\n")
    if as_json:
        print_json(facts)
    if not count:
        where = f"{len(connections)} TCP connections are in it" if connections else "no TCP connection is in it"
        raise InvalidSettings(
            f"the capture holds no readable MQTT: {where}", fix="capture the port that speaks plain MQTT"
        )
    return is_good


def _kind_of(connection: Connection) -> str:
    """Give "mqtt", or what else a connection is, in words; "" when it says nothing."""
    first = b"".join(piece.data for piece in connection.pieces if piece.is_from_client)[:8]
    if first.startswith(TLS_HANDSHAKE):
        total = sum(len(piece.data) for piece in connection.pieces)
        return f"TLS, {total} bytes: encrypted, nothing of it can be read here"
    if first.startswith(b"GET "):
        return "HTTP"
    if not first and not connection.pieces:
        return ""
    if not first or first[0] == CONNECT_BYTE or connection.server.port == 1883:
        return "mqtt"
    return "not MQTT: it begins with no CONNECT"


def _in_time(connection: Connection, version: int | None) -> Iterable[tuple[Dissected, float, bool]]:
    """Give the packets of both directions as they were finished; both speak the version of the CONNECT."""
    client, server = Dissector(version or V5), Dissector(version or V5)
    for piece in connection.pieces:
        dissector = client if piece.is_from_client else server
        for packet in dissector.feed(piece.data):
            yield packet, piece.at, piece.is_from_client
        if version is None:
            server.version = client.version
