"""May this HTTP request become a WebSocket? Path, subprotocol and origin are looked at here; the rest is the library's.

Source: RFC 6455 section 4.2. The origin is looked at because browsers show a client certificate by themselves: without
the check any page in the world could open a connection as the device whose certificate the browser holds (section
10.2; known as cross-site WebSocket hijacking). Programs send no Origin or the hub's own, and both may connect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from websockets.exceptions import NegotiationError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from lockgate.errors import LockgateError, Step

_VERSION = "13"  # RFC 6455 section 4.1
_MAX_SHOWN = 200
_PLAIN_ORIGIN = re.compile(r"(https?://[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|file://)\Z")  # some devices say file://
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PLAIN_MQTT = 0x10


class UpgradeRules(msgspec.Struct, frozen=True):
    """Which requests may become a WebSocket."""

    subprotocol: str = "mqtt"
    """What a client must offer and the answer names. [MQTT-6.0.0-3] [MQTT-6.0.0-4]"""
    paths: tuple[str, ...] = ("/mqtt", "/")
    """The paths that are served, the one to recommend first."""
    origins: tuple[str, ...] = ()
    """Pages of other hosts that may connect, in lower case (https://app.example); "*" lets every page."""


class UpgradeRefused(LockgateError):
    """This request does not become a WebSocket; `status` is what HTTP calls it, the message goes to the client."""

    default_reason = "WebSocket handshake refused"
    default_step = Step.PROTOCOL

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 400,
        reason: str = "",
        fix: str = "",
        step: Step | None = None,
        evidence: Mapping[str, str] | None = None,
    ) -> None:
        shown = {name: value[:_MAX_SHOWN] for name, value in (evidence or {}).items()}
        super().__init__(message, reason=reason, fix=fix, step=step, evidence=shown)
        self.status = status


def server_protocol(rules: UpgradeRules, max_message_bytes: int) -> ServerProtocol:
    """Give the library's state machine for one connection: no extensions, so nothing is ever decompressed."""
    return ServerProtocol(subprotocols=[Subprotocol(rules.subprotocol)], max_size=max_message_bytes)


def accept(protocol: ServerProtocol, request: Request, rules: UpgradeRules) -> Response:
    """Give the answer 101 to a request that may become a WebSocket.

    Raises:
        UpgradeRefused: when it may not.
    """
    path = request.path.partition("?")[0]
    if path not in rules.paths:
        raise UpgradeRefused(
            f"There is nothing here: MQTT over WebSocket is at {rules.paths[0]}.",
            status=404,
            reason="unknown WebSocket path",
            fix=f"Give the client a URL that ends in {rules.paths[0]}.",
            evidence={"path asked for": path},
        )
    response = protocol.accept(request)
    if response.status_code != 101:
        raise _explained(protocol.handshake_exc, response, rules)
    _check_origin(request, rules)
    return response


def rejection(protocol: ServerProtocol, refused: UpgradeRefused, reference: str) -> Response:
    """Give the HTTP answer that says why, with the reference to ask about."""
    response = protocol.reject(refused.status, f"{refused}\nReference: {reference}\n")
    response.headers["Lockgate-Reference"] = reference
    if refused.status in (400, 426):
        response.headers["Sec-WebSocket-Version"] = _VERSION  # RFC 6455 section 4.4
    if refused.status == 405:
        response.headers["Allow"] = "GET"  # RFC 9110 section 15.5.6
    if refused.status == 426:
        response.headers["Upgrade"] = "websocket"  # RFC 9110 section 15.5.22
    return response


def no_http(first_bytes: bytes) -> UpgradeRefused:
    """Say what came instead of an HTTP request."""
    if first_bytes[:1] == bytes([_PLAIN_MQTT]):
        return UpgradeRefused(
            "the client speaks MQTT without a WebSocket around it",
            reason="not a WebSocket",
            fix="Give the client the port of MQTT over TLS (8883 by default), or a URL that begins with wss://.",
        )
    return UpgradeRefused(
        "the client sent no HTTP request that can be read",
        reason="not a WebSocket",
        fix="Use a client that speaks MQTT over WebSocket: a URL that begins with wss://.",
    )


def too_large(max_bytes: int) -> UpgradeRefused:
    """Say that the request is larger than it may be."""
    return UpgradeRefused(
        f"The handshake is larger than {max_bytes} bytes.",
        status=431,
        reason="WebSocket handshake too large",
        fix="Send fewer or shorter headers (cookies?), or raise mqtt.websocket_max_handshake_bytes.",
    )


def _explained(error: Exception | None, response: Response, rules: UpgradeRules) -> UpgradeRefused:
    if response.status_code == 426:
        return UpgradeRefused(
            f"This is a door for MQTT over WebSocket: connect to {rules.paths[0]} with an MQTT client, by wss.",
            status=426,
            reason="not a WebSocket",
            fix="Nothing, if that was a person with a browser; else a client that speaks MQTT over WebSocket.",
        )
    if isinstance(error, NegotiationError):
        return UpgradeRefused(
            f"The client must offer the WebSocket subprotocol {rules.subprotocol}.",
            reason="subprotocol not offered",
            fix=f'Have the client offer it, as MQTT libraries do: new WebSocket(url, "{rules.subprotocol}").',
        )
    return UpgradeRefused(f"The WebSocket handshake is wrong: {str(error)[:_MAX_SHOWN]}.", status=response.status_code)


def _check_origin(request: Request, rules: UpgradeRules) -> None:
    origin = request.headers.get("Origin")  # once at most: the library has looked
    if origin is None or "*" in rules.origins or origin.lower().rstrip("/") in rules.origins:
        return
    hosts = request.headers.get_all("Host")
    if len(hosts) == 1 and _is_same_site(origin, hosts[0]):
        return
    fix = "A page of that origin may not connect; mqtt.websocket_origins names those that may."
    if _PLAIN_ORIGIN.match(origin):
        fix = f'If its pages may connect: add "{origin}" to mqtt.websocket_origins in lockgate.toml.'
    raise UpgradeRefused(
        "A page of this origin may not connect here.",
        status=403,
        reason="origin not allowed",
        fix=fix,
        evidence={"origin": origin, "host asked for": ", ".join(hosts)},
    )


def _is_same_site(origin: str, host: str) -> bool:
    """Say whether a page comes from the host that it asks for, over a wire that nobody else can write to."""
    try:
        page, asked = urlsplit(origin), urlsplit(f"//{host}")
        names = page.hostname, asked.hostname
    except ValueError:
        return False
    # Over plain http anybody on the way could write the page; nobody is on the way to this machine itself.
    return names[0] is not None and names[0] == names[1] and (page.scheme == "https" or names[0] in _LOOPBACK)
