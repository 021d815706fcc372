"""The options of mosquitto.conf, one by one: what each is here.

Source: mosquitto.conf(5) of mosquitto 2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias


class Word(NamedTuple):
    """What becomes of an option (a value of `mosquitto.Taken`), and why."""

    taken: str
    why: str


Verdict: TypeAlias = Callable[[str], Word]

SAME, DIFFERS, BY_HAND, NOT = "as it is here", "differs", "by hand", "not taken over"


def _always(taken: str, why: str) -> Verdict:
    return lambda _: Word(taken, why)


def _setting(name: str, lowest: int = 1, highest: int = 2**62) -> Verdict:
    """Give the verdict on a number that has a setting here; mosquitto's 0 or -1 is "no limit", which is not offered."""

    def verdict(value: str) -> Word:
        try:
            number = int(value)
        except ValueError:
            return Word(NOT, f"no number: {value!r}; see {name}")
        if number < 1:
            return Word(DIFFERS, f"no limit; here {name} always has one, its default stays")
        fitted = min(max(number, lowest), highest)
        limit = "" if fitted == number else f" (the nearest to {number} that it takes)"
        return Word(
            BY_HAND, f"put {name.partition('.')[2]} = {fitted}{limit} under [{name.partition('.')[0]}] of lockgate.toml"
        )

    return verdict


def _flag(value: str, when_true: Word, when_false: Word) -> Word:
    return when_true if value.lower() in ("true", "1", "on", "yes") else when_false


def _listener(value: str) -> Word:
    port, _, host = value.partition(" ")
    where = f', and hosts = ["{host.strip()}"]' if host.strip() else ""
    return Word(
        BY_HAND,
        f"put port = {port}{where} under [mqtt] of lockgate.toml if it spoke TLS; a plaintext listener has no equal:"
        " clients must come by TLS",
    )


def _protocol(value: str) -> Word:
    if value == "websockets":
        return Word(BY_HAND, "MQTT over secure WebSocket has a port of its own: websocket_port under [mqtt]")
    return Word(SAME, "MQTT")


def _expiration(value: str) -> Word:
    units = {"h": 1, "d": 24, "w": 168, "m": 720, "y": 8760}
    try:
        hours = int(value[:-1]) * units[value[-1:]]
    except (ValueError, KeyError):
        return Word(NOT, f"no duration: {value!r}")
    return Word(BY_HAND, f"put max_session_expiry_hours = {hours} under [hub] of lockgate.toml")


_OWN_CA = _always(
    NOT,
    "the hub has a certificate authority of its own: give the clients ca/root.crt of the home",
)
_CLIENT_CERTIFICATES = _always(
    NOT,
    "certificates of another authority count one by one: lockgate ca trust CA.pem, then for each device "
    "lockgate device add NAME --auth x509 --certificate FILE",
)
_SERVICE = _always(SAME, "the service and the log: lockgate service install, [log] in lockgate.toml")
_OWN_TUNING = _always(SAME, "of no use here: what is acknowledged is on the disk ([store] durability)")
_BRIDGE = _always(NOT, "a bridge to another broker: there are none here")
_PLUGIN = _always(
    NOT, "plug-ins have no equal; roles of the dynamic-security plug-in: write them as rules, lockgate policy allow"
)

OPTIONS: Mapping[str, Verdict] = {
    "include_dir": _always(SAME, "its files were read; see their lines"),
    "per_listener_settings": lambda value: _flag(
        value,
        Word(DIFFERS, "all doors here ask the same registry: users and rules of all listeners are put together"),
        Word(SAME, "all doors ask the same registry"),
    ),
    "allow_anonymous": lambda value: _flag(
        value,
        Word(NOT, "nobody is anonymous here: every client needs a device, lockgate device add"),
        Word(SAME, "nobody is anonymous"),
    ),
    "listener": _listener,
    "port": _listener,
    "bind_address": _always(BY_HAND, 'put hosts = ["ADDRESS"] under [mqtt] of lockgate.toml'),
    "protocol": _protocol,
    "cafile": _OWN_CA,
    "capath": _OWN_CA,
    "certfile": _OWN_CA,
    "keyfile": _always(NOT, "the hub has a key of its own; no key is copied"),
    "require_certificate": _CLIENT_CERTIFICATES,
    "use_identity_as_username": _CLIENT_CERTIFICATES,
    "use_subject_as_username": _CLIENT_CERTIFICATES,
    "crlfile": _always(SAME, "lockgate device revoke ends a device at once, live sessions too"),
    "tls_version": _always(SAME, "TLS 1.2 and 1.3, and no other"),
    "ciphers": _always(SAME, "AEAD and forward secrecy only; there is no setting"),
    "ciphers_tls1.3": _always(SAME, "there is no setting"),
    "dhparamfile": _always(SAME, "elliptic curves only"),
    "psk_file": _always(NOT, "pre-shared keys are not offered over TCP: lockgate device add NAME --auth jwt-es256"),
    "psk_hint": _always(NOT, "pre-shared keys are not offered over TCP"),
    "use_username_as_clientid": _always(SAME, "a client id is the device's name, or NAME/SUFFIX"),
    "clientid_prefixes": _always(DIFFERS, "a client id is the device's name, or NAME/SUFFIX"),
    "allow_zero_length_clientid": _always(SAME, "who sends none gets NAME/auto-... from the hub"),
    "auto_id_prefix": _always(DIFFERS, "ids that the hub gives are NAME/auto-..."),
    "mount_point": _always(NOT, "topics have no prefix by listener: write rules for the whole topics"),
    "max_connections": _setting("net.max_connections"),
    "max_queued_messages": _setting("hub.max_queued_messages", highest=60_000),
    "max_queued_bytes": _setting("hub.max_queued_bytes"),
    "max_inflight_messages": _setting("hub.max_in_flight", highest=5000),
    "max_inflight_bytes": _always(NOT, "messages in flight are counted, not their bytes: hub.max_in_flight"),
    "max_packet_size": _setting("mqtt.max_packet_bytes", 1024, 268_435_460),
    "message_size_limit": _setting("mqtt.max_packet_bytes", 1024, 268_435_460),
    "max_keepalive": _setting("mqtt.max_keep_alive_seconds", highest=65_535),
    "max_topic_alias": _setting("mqtt.topic_alias_maximum", highest=65_535),
    "max_qos": _always(NOT, "by rule: lockgate policy allow --qos"),
    "memory_limit": _always(NOT, "each stock has its own bound: docs/explain/limits.md"),
    "retain_available": _always(NOT, "by rule: lockgate policy allow --no-retain"),
    "check_retain_source": _always(SAME, "retained messages are judged at each delivery"),
    "persistent_client_expiration": _expiration,
    "queue_qos0_messages": _always(NOT, "QoS 0 does not wait for clients that are away"),
    "sys_interval": _setting("hub.sys_interval_seconds"),
    "persistence": lambda value: _flag(
        value,
        Word(SAME, "sessions, queues and retained messages are stored"),
        Word(DIFFERS, 'they are stored all the same; [store] durability = "memory" waits for no disk'),
    ),
    "upgrade_outgoing_qos": _always(NOT, "a message comes with the lower of its own QoS and the subscription's"),
    "allow_duplicate_messages": _always(NOT, "there is no setting for it"),
    "set_tcp_nodelay": _always(SAME, "always on"),
    "websockets_headers_size": _setting("mqtt.websocket_max_handshake_bytes", 1024, 1_048_576),
    "websockets_origin": _always(BY_HAND, 'put websocket_origins = ["https://..."] under [mqtt] of lockgate.toml'),
    "websockets_log_level": _SERVICE,
    "http_dir": _always(NOT, "no files are served"),
    "max_log_entries": _SERVICE,
    "user": _SERVICE,
    "pid_file": _SERVICE,
    "connection_messages": _SERVICE,
    "persistence_file": _OWN_TUNING,
    "persistence_location": _always(NOT, "mosquitto.db is not read: sessions and retained messages begin anew"),
    "autosave_interval": _OWN_TUNING,
    "autosave_on_changes": _OWN_TUNING,
    "socket_domain": _always(BY_HAND, 'hosts under [mqtt] says on which addresses: "0.0.0.0", "::"'),
    "bind_interface": _always(NOT, "hosts under [mqtt] takes addresses"),
    "tls_engine": _always(NOT, "keys are files of the home"),
    "tls_keyform": _always(NOT, "keys are files of the home"),
    "tls_engine_kpass_sha1": _always(NOT, "keys are files of the home"),
    "plugin": _PLUGIN,
    "auth_plugin": _PLUGIN,
    "auth_plugin_deny_special_chars": _always(SAME, "names with wildcards cannot be registered"),
    "global_plugin": _PLUGIN,
}
"""What each option is here; the rest go by their beginning."""

_PREFIXES: Mapping[str, Verdict] = {
    "plugin_opt_": _PLUGIN, "auth_opt_": _PLUGIN, "bridge_": _BRIDGE, "log_": _SERVICE,
}  # fmt: skip


def with_prefix(word: str) -> Verdict | None:
    """Give the verdict on an option that goes by its beginning."""
    return next((verdict for prefix, verdict in _PREFIXES.items() if word.startswith(prefix)), None)
