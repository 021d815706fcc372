"""The devices' own resources: `$devices/NAME/PATH` is what the device NAME serves at PATH, over its live link.

Who asks needs a rule for the topic of that name: to receive for GET, to publish for PUT, POST and DELETE. Nothing else
is reached by it: no address can be named, only devices that have proven who they are on a link that lives. Of what one
side says the other hears only the options named here; blocks, Observe and the like are each link's own affair.

Source: RFC 7252 sections 5.7 and 11.2 (proxying, and why an open proxy is a danger); RFC 8075 section 10.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol, final

from lockgate.adapters.coap.asking import Done
from lockgate.adapters.coap.mapping import Answer
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, OptionNumber, Options
from lockgate.errors import LockgateError, NotFound, TopicNameInvalid
from lockgate.hub.reading import Reading
from lockgate.model.message import Message
from lockgate.model.principal import Principal
from lockgate.model.topic import TopicName, topic_name

TREE: Final = "$devices"

_GET: Final = 1
_DELETE: Final = 4
_ASKED: Final = frozenset(
    {
        OptionNumber.IF_MATCH,
        OptionNumber.ETAG,
        OptionNumber.IF_NONE_MATCH,
        OptionNumber.CONTENT_FORMAT,
        OptionNumber.URI_QUERY,
        OptionNumber.ACCEPT,
    }
)
"""What goes to the device of a request, beside its path."""
_ANSWERED: Final = frozenset(
    {OptionNumber.ETAG, OptionNumber.CONTENT_FORMAT, OptionNumber.MAX_AGE, OptionNumber.LOCATION_QUERY}
)
"""What comes back of the response; a Location-Path does as well, below the device's own."""


class DeviceLink(Protocol):
    """A live link to a device."""

    def ask(self, code: int, options: Options, payload: bytes, done: Done, /) -> None:
        """Send a request to the device; `done` hears what becomes of it."""
        ...


@final
class DeviceResources:
    """Brings requests to devices.

    Args:
        reading: asks the policy.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._links: dict[str, list[DeviceLink]] = {}

    def join(self, device: str, link: DeviceLink) -> None:
        """A device has a link; of several the newest is asked."""
        self._links.setdefault(device, []).append(link)

    def leave(self, device: str, link: DeviceLink) -> None:
        """The link is gone."""
        links = self._links.get(device, [])
        if link in links:
            links.remove(link)
        if not links:
            self._links.pop(device, None)

    def ask(self, request: CoapMessage, path: str, principal: Principal, done: Done, now: float) -> None:
        """Bring a request to the device that `path` names; `done` hears the response, or why there is none.

        `now` is in unix seconds.

        Raises:
            NotFound: the path names no device.
            TopicNameInvalid: the path is none.
            NotAuthorized: the principal may not.
            RateExceeded: its rule allows no more.
            CoapError: 4.05 for another method, 5.02 when the device has no link.
        """
        device, own_path = _split(path)
        topic = topic_name(path)
        self._check(principal, request.code, topic, request.payload, now)
        links = self._links.get(device)
        if not links:
            raise CoapError(
                Code.BAD_GATEWAY,
                f"{device!r} has no live CoAP link",
                reason="the device is not connected",
                fix="have it open its session (DTLS), and keep it",
            )
        options = [(int(OptionNumber.URI_PATH), level.encode()) for level in own_path]
        options += [option for option in request.options if option[0] in _ASKED]
        options.sort(key=_number)
        links[-1].ask(
            request.code,
            tuple(options),
            request.payload,
            partial(self._answered, principal, request.code, topic, device, done),
        )

    def _check(self, principal: Principal, method: int, topic: TopicName, payload: bytes, now: float) -> None:
        if method == _GET:
            self._reading.check_receive(principal, topic)
        elif method <= _DELETE:
            self._reading.take_publish(principal, Message(topic, payload, 1, False), now)
        else:
            raise CoapError(Code.METHOD_NOT_ALLOWED, "this method is not passed on", fix="use GET, PUT, POST or DELETE")

    def _answered(
        self,
        principal: Principal,
        method: int,
        topic: TopicName,
        device: str,
        done: Done,
        outcome: Answer | LockgateError,
    ) -> None:
        if isinstance(outcome, Answer):
            try:
                if method == _GET:  # a rule may bound how much is received, and was perhaps taken back meanwhile
                    self._reading.check_receive(principal, topic, len(outcome.payload))
                outcome = Answer(outcome.code, _passed_back(device, outcome.options), outcome.payload)
            except LockgateError as error:
                outcome = error
        done(outcome)


def is_own(path: str) -> bool:
    """Say whether a path is one of a device's own resources."""
    return path.startswith(TREE) and (len(path) == len(TREE) or path[len(TREE)] == "/")


def _split(path: str) -> tuple[str, list[str]]:
    """Give the device that a path names, and the levels of the resource's own path."""
    _, *levels = path.split("/")
    if not levels or not levels[0]:
        raise NotFound("the path names no device", fix=f"give one: {TREE}/NAME/PATH")
    device, *own_path = levels
    if "." in own_path or ".." in own_path:  # RFC 7252 section 5.10.1
        raise TopicNameInvalid("a path segment must not be . or ..", fix="name the resource itself")
    return device, [] if own_path == [""] else own_path


def _passed_back(device: str, options: Options) -> Options:
    passed: list[tuple[int, bytes]] = []
    for option in options:
        if option[0] == OptionNumber.LOCATION_PATH:
            if not any(number == OptionNumber.LOCATION_PATH for number, _ in passed):
                passed += [(int(OptionNumber.LOCATION_PATH), name) for name in (TREE.encode(), device.encode())]
            passed.append(option)
        elif option[0] in _ANSWERED:
            passed.append(option)
    return tuple(passed)


def _number(option: tuple[int, bytes]) -> int:
    return option[0]
