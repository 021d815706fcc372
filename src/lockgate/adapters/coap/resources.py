"""The resources of the topic space: what the hub answers to each method, for a device that has proven who it is.

Everything here goes through the hub, and so past the policy: `publish` for PUT, POST and DELETE, `reading` for GET.
Observe is `observing`'s; the first answer to an observer is made here as well.

Source: RFC 7252 sections 5.8 (methods), 5.9 (codes), 5.10.6 (ETag), 5.10.8 (conditional requests).
"""

from __future__ import annotations

from typing import Final, final

from lockgate.adapters.coap import links, mapping
from lockgate.adapters.coap.mapping import Answer, Said
from lockgate.adapters.coap.messages import LINK_FORMAT, CoapError, CoapMessage, Code, Options
from lockgate.adapters.coap.wire import encode_uint
from lockgate.errors import LockgateError, NotFound, Unavailable
from lockgate.hub import Hub, Receipt, SessionStore
from lockgate.model.message import Message
from lockgate.model.principal import Principal

# Not Final, which would build it into the compiled room: tests lower it.
MAX_LINKS = 1000
"""A list names so many topics at most: each costs time, and devices wait meanwhile. Who looks for others asks with a
narrower filter."""
_GET: Final = 1
_POST: Final = 2
_PUT: Final = 3
_DELETE: Final = 4
_CREATED: Final = 65
_DELETED: Final = 66
_VALID: Final = 67
_CHANGED: Final = 68
_CONTENT: Final = 69
_CONTENT_FORMAT: Final = 12
_OBSERVE: Final = 6
_LINKS: Final[Options] = ((_CONTENT_FORMAT, bytes([LINK_FORMAT])),)
_NO_OPTIONS: Final[Options] = ()
_METHODS: Final = "GET, PUT, POST and DELETE"


@final
class Resources:
    """Answers requests.

    Args:
        hub: the topic space.
        store: says whether publishers must wait for the disk.
    """

    def __init__(self, hub: Hub, store: SessionStore) -> None:
        self._hub = hub
        self._store = store

    def answer(self, request: CoapMessage, said: Said, principal: Principal, now: float) -> Answer:
        """Give the response to a request without Observe. `now` in unix seconds.

        Raises:
            LockgateError: it is refused.
        """
        method = request.code
        if said.path == mapping.DISCOVERY:
            if method != _GET:
                raise CoapError(Code.METHOD_NOT_ALLOWED, "discovery can only be read", fix="use GET")
            return self.discovery(said, principal, now)
        if said.queries is not None:
            mapping.check_queries(said)
        if method == _GET:
            return self.read(said, principal, now)
        if method in (_PUT, _POST):
            return self._publish(
                request, said, principal, said.retain == 1 or (said.retain < 0 and method == _PUT), now
            )
        if method == _DELETE:
            return self._clear(request, said, principal, now)
        raise CoapError(Code.METHOD_NOT_ALLOWED, "a topic does not take this method", fix=f"use {_METHODS}")

    def read(self, said: Said, principal: Principal, now: float, observe: int = -1) -> Answer:
        """Give what a GET answers; `observe` is the number of the first notification where it is also observed.

        Raises:
            NotFound: nothing is retained there, and it is not observed.
            NotAuthorized: the principal may not receive from there.
        """
        if said.filter:
            topic_filter = mapping.filter_of(said)
            found = self._hub.reading.search(principal, topic_filter, now, MAX_LINKS + 1)
            if len(found) > MAX_LINKS:
                if observe < 0:
                    raise CoapError(
                        Code.BAD_REQUEST, f"{topic_filter!r} takes in more than {MAX_LINKS} retained messages",
                        reason="too many topics", fix="ask with a narrower filter",
                    )  # fmt: skip
                found.pop()  # who observes hears of the others as they change
            return self._listed(links.links_of(found), said, observe)
        topic = mapping.name_of(said)
        message = self._hub.reading.read(principal, topic, now)
        if message is None:
            if observe < 0:
                raise NotFound(
                    f"nothing is retained on {topic!r}",
                    fix="publish with PUT, or with retain in MQTT; or observe it for what comes",
                )
            return Answer(_CONTENT, ((_OBSERVE, encode_uint(observe)),))
        if said.accept >= 0:
            _check_accept(said.accept, mapping.format_of(message), topic)
        options = mapping.representation(message, now, observe)
        if said.etags is not None and options[0][1] in said.etags:
            return Answer(_VALID, mapping.without_format(options))
        return Answer(_CONTENT, options, message.payload)

    def discovery(self, said: Said, principal: Principal | None, now: float) -> Answer:
        """Give the links to what a principal may receive (RFC 6690); to a stranger the hub's own and no more."""
        found = [links.OWN_LINK]
        if principal is not None:
            found += links.links_of(self._hub.reading.all_of(principal, now, MAX_LINKS))
        queries = said.queries or []
        if said.filter:  # there, "filter" would be an attribute that no link has
            queries = [*queries, f"filter={said.filter}"]
        return self._listed(links.chosen(found, queries), said, -1)

    def _listed(self, found: list[links.WebLink], said: Said, observe: int) -> Answer:
        if said.accept >= 0:
            _check_accept(said.accept, LINK_FORMAT, "a list of links")
        if observe < 0:
            return Answer(_CONTENT, _LINKS, links.document(found))
        return Answer(_CONTENT, ((_OBSERVE, encode_uint(observe)), *_LINKS), links.document(found))

    def _publish(self, request: CoapMessage, said: Said, principal: Principal, retain: bool, now: float) -> Answer:
        message = mapping.to_message(request, said, principal, retain, now)
        before = self._hub.retained.find(message.topic, now) if retain else None
        if said.if_match is not None or said.if_none_match:
            self._check_condition(said, principal, message, now)
        receipt = self._do_publish(principal, message, now)
        return Answer(_CREATED if retain and before is None else _CHANGED, _NO_OPTIONS, b"", receipt.commit)

    def _clear(self, request: CoapMessage, said: Said, principal: Principal, now: float) -> Answer:
        if request.payload:
            raise CoapError(Code.BAD_REQUEST, "a DELETE has no payload", fix="use PUT to publish something")
        message = mapping.to_message(request, said, principal, True, now)
        if said.if_match is not None or said.if_none_match:
            self._check_condition(said, principal, message, now)
        return Answer(_DELETED, _NO_OPTIONS, b"", self._do_publish(principal, message, now).commit)

    def _do_publish(self, principal: Principal, message: Message, now: float) -> Receipt:
        if self._store.is_full:  # a device of MQTT would not be read meanwhile
            raise Unavailable("more waits for the disk than store.max_waiting_bytes", fix="send it again soon")
        outcome = self._hub.publish(principal, message, now)
        if isinstance(outcome, LockgateError):
            raise outcome
        return outcome

    def _check_condition(self, said: Said, principal: Principal, message: Message, now: float) -> None:
        """Look at If-Match and If-None-Match; who may not publish here does not learn what they find.

        Raises:
            CoapError: 4.12.
            NotAuthorized: the principal may not publish, or may not read what If-Match names.
        """
        hub = self._hub
        hub.reading.check_publish(principal, message)
        standing = hub.retained.find(message.topic, now)
        wanted = said.if_match
        if said.if_none_match and standing is not None:
            raise CoapError(Code.PRECONDITION_FAILED, f"{message.topic!r} holds a retained message", fix="use If-Match")
        if wanted is not None:
            if any(wanted):  # an empty If-Match asks for no more than that something is there (section 5.10.8.1)
                standing = hub.reading.read(principal, message.topic, now)
            if standing is None or (b"" not in wanted and mapping.etag_of(standing) not in wanted):
                fix = "GET it anew, and try with its ETag"
                raise CoapError(Code.PRECONDITION_FAILED, f"{message.topic!r} holds something else by now", fix=fix)


def _check_accept(wanted: int, found: int, what: str) -> None:
    """Make sure that a representation has the format asked for; one of no known format counts as octet-stream.

    Raises:
        CoapError: 4.06.
    """
    if wanted != found and not (found < 0 and wanted == mapping.OCTET_STREAM):
        has = "none that is known" if found < 0 else str(found)
        text = f"{what!r} has the Content-Format {has}, not {wanted}"
        raise CoapError(Code.NOT_ACCEPTABLE, text, fix="ask without Accept")
