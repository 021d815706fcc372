"""Link format, and the filters of discovery (RFC 6690)."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap.links import OWN_LINK, WebLink, chosen, document, links_of
from lockgate.model.message import Message, MessageProperties
from lockgate.model.topic import topic_name

JSON = MessageProperties(content_type="application/json")


def test_links_are_sorted_escaped_and_say_what_is_known() -> None:
    messages = [
        Message(topic_name("b/ü,;<>"), b"123"),
        Message(topic_name("a b/c"), b"", properties=JSON),
        Message(topic_name("x" * 256), b""),
    ]
    assert document(links_of(messages)) == b"</a%20b/c>;ct=50;obs;sz=0,</b/%C3%BC,;%3C%3E>;obs;sz=3"


def test_no_link_is_an_empty_document() -> None:
    assert document([]) == b""


LINKS = [
    OWN_LINK,
    WebLink("/a/b", (("ct", "50"), ("obs", None), ("rt", "temperature sensor"))),
    WebLink("/a%20b", (("ct", "0"), ("if", "x"))),
]


@pytest.mark.parametrize(
    ("queries", "found"),
    [
        ([], "/ /a/b /a%20b"),
        (["href=/a/b"], "/a/b"),
        (["href=/a*"], "/a/b /a%20b"),
        (["href=/a b"], "/a%20b"),
        (["rt=sensor"], "/a/b"),
        (["rt=temp*"], "/a/b"),
        (["rt=*"], "/ /a/b"),
        (["rt=temperature sensor"], ""),
        (["title=each topic is a resource"], "/"),
        (["ct=50", "href=/a*"], "/a/b"),
        (["ct=50", "href=/x*"], ""),
        (["obs"], "/a/b"),
        (["unknown=1"], ""),
    ],
)
def test_a_query_chooses_links(queries: list[str], found: str) -> None:
    assert [link.target for link in chosen(LINKS, queries)] == found.split()
