"""The field types of MQTT: integers, UTF-8 encoded strings and binary data, out of bytes and back.

Source: MQTT 5.0 section 1.5, MQTT 3.1.1 sections 1.5 and 2.2.3.
"""

from __future__ import annotations

from typing import Final

from lockgate.adapters.mqtt.packets import MqttError, ReasonCode

MAX_VARIABLE: Final = 268_435_455
"""The largest variable byte integer: four bytes of seven bits each."""


def malformed(message: str) -> MqttError:
    """Give the error for bytes that cannot be read as what the standard asks for."""
    return MqttError(ReasonCode.MALFORMED_PACKET, message)


def protocol_error(message: str) -> MqttError:
    """Give the error for bytes that can be read but are not allowed here."""
    return MqttError(ReasonCode.PROTOCOL_ERROR, message)


def decode_text(raw: bytes) -> str:
    """Give the characters of a UTF-8 encoded string.

    Raises:
        MqttError: MALFORMED_PACKET when it is not well-formed UTF-8 or holds U+0000.
    """
    # Python's strict decoder refuses surrogates and overlong forms [MQTT-1.5.4-1] and keeps U+FEFF [MQTT-1.5.4-3].
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed(f"a string of {len(raw)} bytes is not well-formed UTF-8") from error
    if "\x00" in text:  # [MQTT-1.5.4-2]
        raise malformed("a string holds the null character U+0000")
    return text


class Cursor:
    """Reads the fields of one packet, one after the other; every length is checked before it is read.

    Args:
        data: bytes that hold the packet and perhaps more.
        at: where the next field begins.
        end: where the packet ends; nothing behind it is touched.
        max_pairs: how many user properties may stand in one place.
    """

    def __init__(self, data: bytes, at: int, end: int, max_pairs: int = MAX_VARIABLE) -> None:
        self.data: bytes = data
        self.at: int = at
        self.end: int = end
        self.max_pairs: int = max_pairs

    def take(self, size: int) -> int:
        """Step over `size` bytes and give the index of the first.

        Raises:
            MqttError: MALFORMED_PACKET when the packet ends before them.
        """
        start = self.at
        if start + size > self.end:
            raise malformed(f"a field needs {size} bytes and the packet has {self.end - start} left")
        self.at = start + size
        return start

    def byte(self) -> int:
        """Read one byte."""
        return self.data[self.take(1)]

    def two_bytes(self) -> int:
        """Read a two byte integer (section 1.5.2)."""
        start = self.take(2)
        return self.data[start] << 8 | self.data[start + 1]

    def four_bytes(self) -> int:
        """Read a four byte integer (section 1.5.3)."""
        start = self.take(4)
        return int.from_bytes(self.data[start : start + 4], "big")

    def variable(self) -> int:
        """Read a variable byte integer (section 1.5.5) of at most four bytes; longer forms than needed are taken."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise malformed("a variable byte integer has more than four bytes")

    def binary(self) -> bytes:
        """Read binary data with its length in front (section 1.5.6)."""
        start = self.take(self.two_bytes())
        return self.data[start : self.at]

    def text(self) -> str:
        """Read a UTF-8 encoded string (section 1.5.4)."""
        return decode_text(self.binary())

    def packet_id(self) -> int:
        """Read a packet identifier (section 2.2.1); 0 is none."""
        value = self.two_bytes()
        if value == 0:  # [MQTT-2.2.1-3], [MQTT-2.2.1-4]
            raise protocol_error("a packet identifier must not be 0")
        return value

    def finish(self) -> None:
        """Make sure that the last field was the packet's last byte."""
        if self.at != self.end:
            raise malformed(f"{self.end - self.at} bytes follow the last field of the packet")


def encode_variable(value: int) -> bytes:
    """Give a variable byte integer in as few bytes as it needs [MQTT-1.5.5-1]."""
    if value < 0x80:
        return value.to_bytes(1, "big")
    if value > MAX_VARIABLE:
        raise MqttError(ReasonCode.PACKET_TOO_LARGE, f"a length of {value} bytes is above the most of {MAX_VARIABLE}")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_binary(value: bytes) -> bytes:
    """Give binary data with its length in front."""
    return len(value).to_bytes(2, "big") + value


def encode_text(value: str) -> bytes:
    """Give a UTF-8 encoded string."""
    return encode_binary(value.encode())
