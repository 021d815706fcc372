"""Conversations on a CoAP link as text, in the manner of the standards' figures.

    play(end, '''
        > CON GET 7d34 t=20 /temperature
        < ACK 2.05 7d34 t=20 "22.3 C"
        ~ 3
    ''')

`>` is what the client says, `<` what it is answered (all of it, in its order), `~` seconds that pass. The words of a
message: type, method or code, message id, then t=TOKEN /PATH ?QUERY 1:NUMBER/MORE/SIZE (Block1) 2:... (Block2) obs=N
etag=HEX size1=N size2=N accept=N no-response=N tag=HEX o=NUMBER:HEX, and as payload "text" or FROM-TO of BODY.
"""

from __future__ import annotations

import re
import shlex

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.blocks import Block
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type, dotted
from tests.support.coap import START, ServerEnd

BODY = bytes(range(32, 127)) * 50
NUMBERS = {
    "obs": OptionNumber.OBSERVE,
    "size1": OptionNumber.SIZE1,
    "size2": OptionNumber.SIZE2,
    "accept": OptionNumber.ACCEPT,
    "no-response": OptionNumber.NO_RESPONSE,
}
BYTES = {"etag": OptionNumber.ETAG, "tag": OptionNumber.REQUEST_TAG}
CODES = {dotted(code): int(code) for code in Code} | {code.name: int(code) for code in Code}


def parsed(line: str) -> CoapMessage:
    """Give the message that a line describes."""
    kind, code, message_id, *words = shlex.split(line, posix=False)
    token, payload, options = b"", b"", []
    for word in words:
        name, _, value = word.partition("=")
        if word[0] == '"':
            payload = word.strip('"').encode()
        elif re.fullmatch(r"\d+-\d+", word):
            start, _, end = word.partition("-")
            payload = BODY[int(start) : int(end)]
        elif word[0] == "/":
            options += [(int(OptionNumber.URI_PATH), part.encode()) for part in word[1:].split("/")]
        elif word[0] == "?":
            options.append((int(OptionNumber.URI_QUERY), word[1:].encode()))
        elif word[:2] in ("1:", "2:"):
            number, is_more, size = (int(part) for part in word[2:].split("/"))
            option = OptionNumber.BLOCK1 if word[0] == "1" else OptionNumber.BLOCK2
            options.append((int(option), Block(number, bool(is_more), size).encode()))
        elif name == "t":
            token = bytes.fromhex(value)
        elif name == "o":
            number_text, _, raw = value.partition(":")
            options.append((int(number_text), bytes.fromhex(raw)))
        elif name in BYTES:
            options.append((int(BYTES[name]), bytes.fromhex(value)))
        else:
            options.append((int(NUMBERS[name]), wire.encode_uint(int(value))))
    return CoapMessage(Type[kind], CODES[code], int(message_id, 16), token, wire.in_order(options), payload)


class Conversation:
    """A server and the time on its link."""

    def __init__(self, end: ServerEnd) -> None:
        self.end = end
        self.now = START
        self._said: list[CoapMessage] = []

    def play(self, text: str, is_multicast: bool = False) -> None:
        """Have a conversation; whatever is said beyond it, or otherwise, fails."""
        for line in (line.partition("#")[0].strip() for line in text.splitlines()):
            if not line:
                continue
            sign, words = line[0], line[1:].strip()
            if sign == "<":
                assert self.said(), f"nothing came where {words} should"
                assert self._said.pop(0) == parsed(words), words
                continue
            assert not self.said(), f"came before {line}"
            if sign == ">":
                self.end.receive(wire.encode(parsed(words)), self.now, is_multicast)
            else:
                assert sign == "~", line
                self.passes(float(words))
        assert not self.said(), "came in the end"

    def said(self) -> list[CoapMessage]:
        """Give what has come and is not named yet."""
        self._said += [wire.decode(data) for data in self.end.protocol.datagrams_to_send()]
        return self._said

    def passes(self, seconds: float) -> None:
        """Let time pass, from timer to timer."""
        end = self.now + seconds
        while (at := self.end.next_timer()) is not None and at <= end:
            self.now = max(self.now, at)
            self.end.handle_timer(self.now)
        self.now = end
