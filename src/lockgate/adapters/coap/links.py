"""Link format: what a hub has to offer, as a list of links with attributes, and the filters by which it is asked for.

    </sensors/1/t>;ct=50;obs;sz=12,</sensors/2/t>;obs;sz=4

Source: RFC 6690 sections 2, 4 and 4.1; RFC 7252 section 7.2.1 (ct); RFC 7641 section 6 (obs).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

import msgspec

from lockgate.adapters.coap.mapping import format_of, is_expressible
from lockgate.model.message import Message

SPARED = "-._~!$&'()*+,;=:@"
"""What stands in a path segment as it is (RFC 3986, pchar)."""
LISTS = frozenset({"rt", "if", "rel", "ct"})
"""Attributes whose value is several words; a filter asks for one of them."""


class WebLink(msgspec.Struct, frozen=True):
    """One link: its target, and attributes; the value None is an attribute that only stands there."""

    target: str
    attributes: tuple[tuple[str, str | None], ...] = ()

    def __str__(self) -> str:
        """Write the link as RFC 6690 does; numbers stand bare, all else in quotation marks."""
        said = [f"<{self.target}>"]
        for name, value in self.attributes:
            if value is None:
                said.append(name)
            else:
                said.append(f"{name}={value}" if value.isdigit() else f'{name}="{value}"')
        return ";".join(said)


OWN_LINK = WebLink("/", (("rt", "lockgate.hub"), ("title", "each topic is a resource")))
"""What anybody may know of a hub who asks which nodes there are."""


def link_of(message: Message) -> WebLink:
    """Give the link to a topic with a retained message."""
    number = format_of(message)
    attributes: list[tuple[str, str | None]] = [("obs", None), ("sz", str(message.payload_bytes))]
    if number >= 0:
        attributes.insert(0, ("ct", str(number)))
    return WebLink("/" + "/".join(quote(level, safe=SPARED) for level in message.topic.split("/")), tuple(attributes))


def links_of(messages: Iterable[Message]) -> list[WebLink]:
    """Give links to the topics of messages, in the order of their names; topics that no path can name are left out."""
    found = [message for message in messages if is_expressible(message.topic)]
    return [link_of(message) for message in sorted(found, key=_topic)]


def chosen(links: Iterable[WebLink], queries: Sequence[str]) -> list[WebLink]:
    """Give the links that all `queries` take in, each NAME=VALUE; a * at its end stands for anything (section 4.1)."""
    asked = [query.partition("=") for query in queries]
    return [link for link in links if all(_takes_in(link, name, value) for name, _, value in asked)]


def document(links: Iterable[WebLink]) -> bytes:
    """Write links as application/link-format."""
    return ",".join(map(str, links)).encode()


def _takes_in(link: WebLink, name: str, wanted: str) -> bool:
    if name == "href":
        return _is_like(link.target, wanted) or _is_like(link.target, quote(wanted, safe=SPARED + "/%"))
    for known, value in link.attributes:
        if known == name:
            words = (value or "").split() if name in LISTS else [value or ""]
            if any(_is_like(word, wanted) for word in words):
                return True
    return False


def _is_like(word: str, wanted: str) -> bool:
    return word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted


def _topic(message: Message) -> str:
    return message.topic
