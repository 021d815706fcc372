"""Every setting, typed, with its unit and default: what may stand in lockgate.toml.

A misspelt key is refused with its path and the nearest name; a value of the wrong type or out of range likewise.
Secrets are never settings: they are files.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lockgate.errors import InvalidSettings, in_words

Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(gt=0, le=1e9)]
Count = Annotated[int, Meta(ge=1)]
_ORIGIN = r"\A(\*|null|[a-z][a-z0-9+.-]*://[^/\s]*)\Z"
Origin = Annotated[str, Meta(pattern=_ORIGIN)]
_ADDRESS = r"\A(https?://[^/\s?#]+[^\s?#]*)?\Z"
PATTERN_WORDS = {
    _ORIGIN: 'an origin as browsers write it, like "https://app.example", or "*"',
    _ADDRESS: 'an address like "https://hub.example:8443"',
}


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class MqttSettings(_Section, frozen=True):
    """`[mqtt]`: the MQTT door."""

    hosts: tuple[str, ...] = ("0.0.0.0", "::")  # noqa: S104  (devices come from outside; the door is TLS)
    """The addresses to listen on."""
    port: Port = 8883
    """MQTT over TLS; 0 picks a free one."""
    websocket_enabled: bool = True
    """Whether the door for MQTT over secure WebSocket is open: browsers need it, devices seldom."""
    websocket_port: Port = 8884
    """MQTT over secure WebSocket; 0 picks a free one."""
    websocket_origins: tuple[Origin, ...] = ()
    """Web pages that may connect, like "https://app.example"; pages of the hub's own host may, "*" lets all."""
    websocket_certificates: Literal["devices", "all"] = "devices"
    """Who is asked for a client certificate: not browsers (who offer HTTP by ALPN; Chromium gives up then), or all."""
    websocket_max_handshake_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = 16_384
    """The largest HTTP request taken that asks for a WebSocket."""
    on_refused_publish: Literal["close", "drop"] = "close"
    """What an MQTT 3.1.1 client gets for a PUBLISH that it may not make: 3.1.1 has no other answer."""
    connect_deadline_seconds: Seconds = 10.0
    """How long a connection may take to send its CONNECT, and again until that is decided over and stored."""
    max_connect_bytes: Annotated[int, Meta(ge=1024, le=268_435_460)] = 65_536
    """The largest CONNECT taken: it comes from somebody who has proven nothing yet."""
    max_packet_bytes: Annotated[int, Meta(ge=1024, le=268_435_460)] = 1_048_576
    """The largest packet taken from a client; larger ones end the connection."""
    receive_maximum: Annotated[int, Meta(ge=1, le=65_535)] = 1024
    """How many QoS 1 and 2 messages a client may have in flight towards the hub."""
    topic_alias_maximum: Annotated[int, Meta(ge=0, le=65_535)] = 32
    """How many topic aliases a 5.0 client may make, and get: devices speak on few topics; 0 grants none."""
    max_topic_alias_characters: Count = 131_072
    """How long the topics behind the aliases of one connection may be together, each way; one topic may have 65,535."""
    max_partial_bytes: Annotated[int, Meta(ge=65_536)] = 268_435_456
    """How many bytes of packets that are begun and not whole may be held for all clients; the oldest goes first."""
    packet_deadline_seconds: Seconds = 300.0
    """How long a packet that has begun may take to come whole; the keep-alive, where a client has one, is shorter."""
    max_user_properties: Annotated[int, Meta(ge=0, le=65_535)] = 64
    """How many user properties a packet may have; more of them end the connection. Each costs memory and time."""
    server_reference: Annotated[str, Meta(max_length=1024)] = ""
    """Another hub that 5.0 clients are told of when this one stops or is full, as "host:port"; "" for none."""
    max_keep_alive_seconds: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """The longest keep-alive granted to a 5.0 client (Server Keep Alive); 0 grants what was asked for."""


class CoapSettings(_Section, frozen=True):
    """`[coap]`: the CoAP door."""

    enabled: bool = True
    """Whether the door for CoAP over DTLS is open."""
    hosts: tuple[str, ...] = ("0.0.0.0", "::")  # noqa: S104  (devices come from outside; the door is DTLS)
    """The addresses to listen on."""
    port: Port = 5684
    """CoAP over DTLS (coaps, UDP); 0 picks a free one."""
    psk_enabled: bool = True
    """Whether devices may prove themselves by a key of their own, shared with the hub (PreSharedKey)."""
    rpk_enabled: bool = True
    """Whether devices may prove themselves by a bare public key (RawPublicKey)."""
    x509_enabled: bool = True
    """Whether devices may prove themselves by a certificate of our CA (Certificate)."""
    nosec_enabled: bool = False
    """Whether a door without any protection is open, for devices that were given `--auth nosec`."""
    oscore_enabled: bool = False
    """Whether that door is open for devices that protect their messages by OSCORE."""
    max_oscore_addresses: Count = 16
    """From how many addresses a device may use its OSCORE context at once; one more, and the quietest is forgotten."""
    nosec_port: Port = 5683
    """CoAP without DTLS (UDP); 0 picks a free one."""
    multicast_enabled: bool = False
    """Whether the hub answers discovery by multicast; only where `nosec_enabled` is on."""
    multicast_groups: tuple[str, ...] = ("224.0.1.187", "ff02::fd", "ff05::fd")
    """The multicast groups joined for it: All CoAP Nodes."""
    multicast_leisure_seconds: Seconds = 5.0
    """Within how long an answer to multicast is spread at random, so that not all nodes answer at once."""
    multicast_answers_per_second: Annotated[float, Meta(gt=0, le=1e6)] = 10.0
    """How many multicast requests are answered; further ones are dropped."""
    ack_timeout_seconds: Seconds = 2.0
    """How long an acknowledgement is waited for until a message is sent again; each further time twice as long."""
    ack_random_factor: Annotated[float, Meta(ge=1, le=10)] = 1.5
    """By how much that wait is spread at random, so that devices do not send in step."""
    max_retransmit: Annotated[int, Meta(ge=0, le=20)] = 4
    """How often a message is sent again, until its receiver is given up."""
    nstart: Annotated[int, Meta(ge=1, le=64)] = 1
    """How many messages may wait for an acknowledgement by one device at once."""
    separate_after_seconds: Annotated[float, Meta(gt=0, le=2)] = 0.5
    """After how long a request that is not answered yet is acknowledged by itself; the answer then comes separately."""
    max_exchanges: Annotated[int, Meta(ge=1, le=65_535)] = 64
    """How many of a device's messages are remembered, so that one that comes twice does not act twice."""
    max_waiting_notifications: Count = 256
    """How many messages to one device wait for those before them; of an observation the newest replaces the oldest."""
    non_per_con: Annotated[int, Meta(ge=1, le=65_535)] = 100
    """After how many unconfirmed notifications one is confirmed, which shows whether the observer is still there."""
    con_at_least_every_hours: Annotated[float, Meta(gt=0, le=24)] = 24.0
    """And after how long at the latest (RFC 7641: 24 hours)."""
    max_observations: Count = 100
    """How many observations one connection may hold."""
    block_bytes: Literal[16, 32, 64, 128, 256, 512, 1024] = 1024
    """How large the blocks of a long body are; a device may ask for smaller ones."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=268_435_460)] = 1_048_576
    """The largest body taken in blocks; larger ones are refused with 4.13."""
    max_partial_bodies: Count = 4
    """How many bodies of one device may be under way at once, each way."""
    max_partial_bytes: Annotated[int, Meta(ge=65_536)] = 67_108_864
    """How many bytes of bodies under way may be held for all devices; the one that waits longest goes first."""
    partial_deadline_seconds: Seconds = 93.0
    """How long a body under way waits for its next block."""
    max_datagram_bytes: Annotated[int, Meta(ge=1152, le=65_507)] = 1500
    """The largest message taken; RFC 7252 asks for 1152."""
    max_connections: Count = 20_000
    """How many DTLS sessions, and again how many addresses without DTLS, are held; the least recently used one goes."""
    max_connections_per_address: Count = 2000
    """How many of them may come from one address (IPv6: from one /64 network)."""
    idle_seconds: Seconds = 3600.0
    """How long a connection may be silent until it is forgotten; who observes, and acknowledges, is not silent."""
    handshake_deadline_seconds: Seconds = 30.0
    """How long a DTLS handshake may take: on radio links each flight can take seconds."""
    max_handshakes: Count = 1000
    """How many DTLS handshakes may be under way at once; beyond it the oldest is given up."""
    echo_lifetime_seconds: Seconds = 60.0
    """How long an address without DTLS counts as proven (Echo) by what it repeated to us."""
    http_enabled: bool = True
    """Whether the office answers `https://office/coap/TOPIC`, for those who speak HTTP and not CoAP (RFC 8075)."""
    max_converted_requests: Count = 64
    """How many such requests the gate answers at once; further ones get 503 and may come again."""
    device_answer_seconds: Annotated[float, Meta(gt=0, le=600)] = 20.0
    """How long a device may take to answer a request for a resource of its own (`$devices/NAME/PATH`): 5.04 then."""


class HubSettings(_Section, frozen=True):
    """`[hub]`: the topic space."""

    max_queued_messages: Annotated[int, Meta(ge=1, le=60_000)] = 10_000
    """How many messages wait for one session; `on_full_queue` says which is dropped when it is full."""
    max_queued_bytes: Count = 16_777_216
    """How many bytes (payloads, properties) wait for one session; likewise."""
    max_queued_bytes_total: Count = 1_073_741_824
    """How many bytes wait for all sessions, 256 more for each message; a connected session is left 16 KiB beyond it."""
    on_full_queue: Literal["drop-newest", "drop-oldest"] = "drop-newest"
    """What a full queue drops and counts ("drop-oldest": QoS 0 first); the publisher still gets its PUBACK."""
    max_in_flight: Annotated[int, Meta(ge=1, le=5000)] = 256
    """How many unsettled deliveries one session may have."""
    max_subscriptions: Count = 1000
    """How many topic filters one session may hold."""
    max_subscription_bytes_per_device: Count = 67_108_864
    """How much memory the topic filters of all sessions of one device may take, about; a short one takes 1 to 2 KiB."""
    max_topic_levels: Annotated[int, Meta(ge=1, le=32)] = 32
    """How many levels a topic name or filter may have; longer ones are refused as invalid."""
    max_retained_messages: Count = 100_000
    """How many topics may hold a retained message."""
    max_retained_bytes: Count = 536_870_912
    """How much memory the retained messages may take, about."""
    retained_of_revoked: Literal["clear", "keep"] = "clear"
    """What becomes of the retained messages of a device that is revoked or removed; a command can say otherwise."""
    max_messages_per_second: Annotated[float, Meta(ge=0, le=1e9)] = 10_000.0
    """How many packets one device may send on all its connections (acknowledgements are free); 0 is no limit."""
    max_bytes_per_second: Annotated[float, Meta(ge=0, le=1e12)] = 16_777_216.0
    """How many bytes one device may send, likewise; 0 is no limit."""
    rate_burst_seconds: Seconds = 2.0
    """How many seconds' worth of both a device that was silent may send at once."""
    on_exceeded_rate: Literal["slow", "disconnect"] = "slow"
    """What a device gets that sends more: it is not read until its rate allows it, or its connection ends."""
    max_sessions: Count = 100_000
    """How many sessions the hub keeps, connected or waiting."""
    max_sessions_per_device: Count = 1000
    """How many of them one device may have: it can give itself as many client ids as it likes."""
    sys_interval_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 10.0
    """How often the hub tells about itself under $SYS, for those whom a rule lets receive it; 0 is never."""
    max_session_expiry_hours: Seconds = 168.0
    """How long a session waits for its device to come back, at most; also for 3.1.1 sessions that are not clean."""


class IdentitySettings(_Section, frozen=True):
    """`[identity]`: who are you."""

    jwt_audience: str = "lockgate"
    """What a device's token must name as its audience (aud)."""
    jwt_clock_skew_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """How far a device's clock may be off; applies to iat, nbf and exp alike."""
    jwt_max_lifetime_hours: Seconds = 24.0
    """The longest life (exp minus iat) of a token."""
    wrong_passwords_before_lockout: Count = 10
    """Wrong passwords from one address for one device until both are locked out together."""
    lockout_seconds: Seconds = 60.0
    """How long a lock-out lasts."""
    max_waiting_password_checks: Count = 64
    """How many password checks may wait for a worker; further clients are told that the server is busy."""
    max_reauthentications_per_minute: Count = 20
    """How often one session may prove itself anew (AUTH) within a minute; a client that does more is disconnected."""


class RegistrySettings(_Section, frozen=True):
    """`[registry]`: how much one device may have."""

    max_credentials_per_device: Count = 10
    """How many credentials of one device may hold at once, so that old and new overlap while they rotate."""
    max_gateways_per_device: Count = 16
    """How many devices may speak for one device."""
    max_metadata_per_device: Count = 32
    """How many keys may be remembered about one device."""
    max_metadata_bytes_per_device: Count = 4096
    """How many bytes they and their values may take."""


class NetSettings(_Section, frozen=True):
    """`[net]`: sockets and TLS."""

    handshake_deadline_seconds: Seconds = 10.0
    """How long a TLS handshake may take."""
    ticket_key_hours: Annotated[float, Meta(gt=0, le=24)] = 12.0
    """How long the keys of session tickets are used; older tickets fall back to a full handshake."""
    max_connections: Count = 20_000
    """How many connections the hub holds at once."""
    max_connections_per_address: Count = 2000
    """How many of them may come from one address (IPv6: from one /64 network)."""
    max_handshakes: Count = 1000
    """How many TLS handshakes may be under way at once; beyond it the oldest is given up."""
    max_handshakes_per_second_per_address: Annotated[float, Meta(ge=0, le=1e6)] = 200.0
    """How many may begin per second from one address (IPv6: one /64), after the burst; 0 is no limit."""
    max_handshake_burst_per_address: Count = 1000
    """How many may begin there at once: 5,000 devices behind one address that all return are back in 20 s."""
    max_write_buffer_bytes: Count = 1_048_576
    """How much may wait to be written to one client before its deliveries queue in the hub."""


class PkiSettings(_Section, frozen=True):
    """`[pki]`: certificates."""

    public_url: Annotated[str, Meta(pattern=_ADDRESS)] = ""
    """Where anyone can reach the office, like "https://hub.example:8443": goes into new certificates; "" leaves it."""


class StoreSettings(_Section, frozen=True):
    """`[store]`: what is kept, and how firmly."""

    durability: Literal["fsync", "os", "memory"] = "fsync"
    """When a message counts as stored: on the disk; in the operating system's cache; in memory (written soon after)."""
    max_waiting_bytes: Count = 33_554_432
    """How much may wait for the disk; publishers of durable messages are not read while it is exceeded."""


class OfficeSettings(_Section, frozen=True):
    """`[office]`: enrolment (EST), revocation lists and whatever else is asked for by HTTPS."""

    enabled: bool = True
    """Whether `lockgate up` runs the office beside the gate; one that runs as a service of its own needs no second."""
    hosts: tuple[str, ...] = ("0.0.0.0", "::")  # noqa: S104  (devices come from outside; the door is TLS)
    """The addresses to listen on."""
    port: Port = 8443
    """HTTPS; 0 picks a free one."""
    max_connections: Count = 1000
    """How many connections the office holds at once."""
    max_connections_per_address: Count = 100
    """How many of them may come from one address (IPv6: from one /64 network)."""
    max_requests: Count = 64
    """How many requests are answered at once; further ones get 503 and may come again."""
    max_header_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = 16_384
    """The largest request line with headers taken."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=67_108_864)] = 65_536
    """The largest request body taken: a certificate request takes 1 to 3 KiB."""
    request_deadline_seconds: Seconds = 10.0
    """How long a request may take to come whole."""
    answer_deadline_seconds: Seconds = 30.0
    """How long its answer may take, until it is given up."""
    keep_alive_seconds: Seconds = 5.0
    """How long a connection is held for the next request."""


class LogSettings(_Section, frozen=True):
    """`[log]`: what is told, and how much is remembered."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe event that is logged."""
    max_remembered_refusals: Count = 10_000
    """How many refusals `lockgate why` can look back on."""
    max_security_events: Annotated[int, Meta(ge=1000, le=100_000_000)] = 100_000
    """How many security events are kept, some 300 bytes each; the oldest go, and the audit trail says so."""


class ScanSettings(_Section, frozen=True):
    """`[scan]`: what `lockgate scan` finds and somebody lives with."""

    accept: dict[str, Annotated[str, Meta(min_length=1)]] = {}
    """Checks whose findings are accepted, each with the written reason: {"LG-HOST-003" = "no network here"}."""


class Settings(_Section, frozen=True):
    """All of lockgate.toml."""

    mqtt: MqttSettings = MqttSettings()
    coap: CoapSettings = CoapSettings()
    hub: HubSettings = HubSettings()
    identity: IdentitySettings = IdentitySettings()
    registry: RegistrySettings = RegistrySettings()
    net: NetSettings = NetSettings()
    pki: PkiSettings = PkiSettings()
    store: StoreSettings = StoreSettings()
    office: OfficeSettings = OfficeSettings()
    log: LogSettings = LogSettings()
    scan: ScanSettings = ScanSettings()


def load_settings(path: Path) -> Settings:
    """Read lockgate.toml.

    Raises:
        InvalidSettings: when the file is missing, is no TOML, or holds a key or value that no setting takes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(
            f"{path} cannot be read: {in_words(error)}", fix="lockgate init makes a new home"
        ) from error
    return parse_settings(text, str(path))


def parse_settings(text: str, name: str = "lockgate.toml") -> Settings:
    """Turn the text of a lockgate.toml into settings; see `load_settings`."""
    try:
        return msgspec.convert(tomllib.loads(text), Settings)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidSettings(f"{name} is no TOML: {error}", fix="mend that line") from error
    except msgspec.ValidationError as error:
        message, fix = _explain(str(error))
        raise InvalidSettings(f"{name}: {message}", fix=fix) from error


def _explain(problem: str) -> tuple[str, str]:
    """Turn msgspec's words into ours: the path as TOML writes it, and the nearest known key."""
    text, _, place = problem.partition(" - at `$")
    path = place.rstrip("`").lstrip(".")
    for pattern, words in PATTERN_WORDS.items():
        text = text.replace(f"`str` matching regex {pattern!r}", words)
    unknown = re.search(r"unknown field `([^`]*)`", text)
    if not unknown:
        return f"{path or 'the file'}: {text[0].lower()}{text[1:]}", "see docs/reference/settings.md"
    key = unknown.group(1)
    section: type[msgspec.Struct] = Settings
    for step in filter(None, path.split(".")):
        section = type(getattr(section(), step))
    near = difflib.get_close_matches(key, section.__struct_fields__, n=1, cutoff=0.5)
    known = ", ".join(section.__struct_fields__)
    fix = f"did you mean {near[0]}?" if near else f"known here: {known}"
    return f"unknown setting {'.'.join(filter(None, (path, key)))}", fix
