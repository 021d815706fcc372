"""The fault matrix: ways in which a client is refused, and what `lockgate why` must say of each: data alone.

`tests/interop/test_fault_matrix.py` makes each of them with a real client; docs/reference/why.md is made from them.
"""

from __future__ import annotations

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One kind of refusal.

    `client` makes it; `step` and `reason` are what `why` must say; `fix` stands in its fix. The test does what the fix
    says, and sees that it works then; `is_mended` is false where it reads the fix alone.
    """

    name: str
    client: str
    step: str
    reason: str
    fix: str
    is_mended: bool = True


_OPENSSL, _PUB, _SUB = "openssl s_client", "mosquitto_pub", "mosquitto_sub"
_PAHO, _NODE, _CURL, _WEB = "paho", "mqtt.js", "curl", "websockets (Python)"
_GNUTLS, _COAP = "coap-client-gnutls", "coap-client-openssl"
_NO_RULE = "not authorized: no rule allows it"
_USER_FIX = "the user name is the device's name"
_ISSUE = "lockgate device add NAME --auth x509"
_CLAIM = "lockgate claim add --name-pattern"
_LIBRARY = "update or replace the client's MQTT library"

FAULTS = (
    # TCP
    Fault(
        "too many connections from one address",
        _OPENSSL,
        "tcp",
        "too many connections",
        "raise net.max_connections_per_address",
    ),
    Fault(
        "too many handshakes from one address",
        "openssl s_time",
        "tcp",
        "too many handshakes",
        "raise net.max_handshakes_per_second_per_address",
    ),
    # TLS: it does not begin, or the two find nothing in common
    Fault("connects and says nothing", "bash", "tls", "handshake timeout", "Check that the client speaks TLS"),
    Fault("connects and leaves", "bash", "tls", "client gave up", "", False),
    Fault("MQTT in plain text", _PUB, "tls", "not TLS", "Turn on TLS in the client"),
    Fault("HTTP in plain text", _CURL, "tls", "not TLS", "the address of the right door"),
    Fault("TLS 1.0", _OPENSSL, "tls", "TLS version not offered", "allow TLS 1.2"),
    Fault("TLS 1.1", _OPENSSL, "tls", "TLS version not offered", "allow TLS 1.2"),
    Fault("cipher suites with CBC", _OPENSSL, "tls", "no shared cipher suite", "Allow an ECDHE suite with AES-GCM"),
    Fault("cipher suites without forward secrecy", _OPENSSL, "tls", "no shared cipher suite", "Allow an ECDHE suite"),
    Fault("finite-field Diffie-Hellman", _OPENSSL, "tls", "no shared cipher suite", "Allow an ECDHE suite"),
    Fault("an unknown elliptic curve", _OPENSSL, "tls", "no shared key exchange group", "Allow X25519 or secp256r1"),
    # TLS: the client does not trust the hub
    Fault(
        "a host name that is not in the certificate",
        _OPENSSL,
        "tls",
        "client gave up",
        "lockgate server-cert add-name hub.example",
    ),
    Fault("an address that is not in the certificate", _OPENSSL, "tls", "client gave up", "add the name to it"),
    Fault("another CA file", _PUB, "tls", "client gave up", "Give the client this hub's ca.pem"),
    Fault("the system's CAs instead of ours", _PUB, "tls", "client gave up", "Give the client this hub's ca.pem"),
    Fault(
        "TLS, and then it leaves", _OPENSSL, "tls", "client left before CONNECT", "give the client this hub's ca.pem"
    ),
    Fault(
        "another CA file, and a library that says nothing",
        _NODE,
        "tls",
        "client gave up",
        "Give the client this hub's ca.pem",
    ),
    Fault("the client's clock is 30 years ahead", _OPENSSL, "tls", "client's clock is wrong", "Set the client's clock"),
    Fault("the client's clock stands in 1970", _OPENSSL, "tls", "client's clock is wrong", "Set the client's clock"),
    Fault(
        "the hub's certificate has expired",
        _OPENSSL,
        "tls",
        "server certificate expired",
        "lockgate server-cert rotate",
    ),
    # TLS: the hub does not trust the client's certificate
    Fault("a client certificate of a foreign CA", _PUB, "tls", "unknown issuer", _ISSUE),
    Fault("a foreign CA with our CA's name, shown along", _PUB, "tls", "unknown issuer", _ISSUE),
    Fault("our CA's name and key id over another's signature", _PAHO, "tls", "bad signature", _ISSUE),
    Fault("a self-signed client certificate", _PUB, "tls", "self-signed certificate", _ISSUE),
    Fault("an expired client certificate", _PAHO, "tls", "certificate expired", "issue the device a new certificate"),
    Fault(
        "a client certificate that is not yet valid",
        _PAHO,
        "tls",
        "certificate not yet valid",
        "Check this hub's clock",
    ),
    Fault("a certificate for servers, shown by a client", _PAHO, "tls", "wrong purpose", _ISSUE),
    Fault("a client certificate with RSA 1024", _PAHO, "tls", "key too weak", _ISSUE),
    Fault("a chain that lacks its intermediate", _PAHO, "tls", "unknown issuer", _ISSUE),
    Fault("a revoked certificate", _PUB, "tls", "certificate revoked", "lockgate device rotate NAME --out DIR"),
    Fault("a removed device's certificate", _PUB, "tls", "certificate revoked", "if it was removed, add it again"),
    # Protocol
    Fault("TLS, and then no CONNECT", _OPENSSL, "protocol", "no CONNECT in time", "check that the client speaks MQTT"),
    Fault("HTTPS to the port of MQTT", _CURL, "protocol", "not MQTT", "the port of MQTT over WebSocket"),
    Fault("bytes that are no MQTT", _OPENSSL, "protocol", "malformed packet", _LIBRARY),
    Fault("MQTT 3.1", _PUB, "protocol", "unsupported protocol version", "MQTT 3.1.1 or 5.0"),
    Fault("MQTT 6", _OPENSSL, "protocol", "unsupported protocol version", "MQTT 3.1.1 or 5.0"),
    Fault("a second CONNECT", _OPENSSL, "protocol", "protocol error", _LIBRARY),
    Fault("a wildcard in a topic name", _OPENSSL, "protocol", "topic name invalid", "without + and #"),
    Fault("a topic that is no UTF-8", _OPENSSL, "protocol", "malformed packet", _LIBRARY),
    Fault(
        "a topic filter with # in the middle", _OPENSSL, "protocol", "topic filter invalid", "# as the whole last one"
    ),
    Fault("a topic alias above the maximum", _PAHO, "protocol", "topic alias invalid", "mqtt.topic_alias_maximum"),
    Fault("text that is no UTF-8", _NODE, "protocol", "payload format invalid", "send UTF-8"),
    Fault("WebSocket: wrong path", _CURL, "protocol", "unknown WebSocket path", "a URL that ends in /mqtt"),
    Fault("WebSocket: a page of another origin", _CURL, "protocol", "origin not allowed", "mqtt.websocket_origins"),
    Fault("WebSocket: no subprotocol", _CURL, "protocol", "subprotocol not offered", "Have the client offer it"),
    Fault("WebSocket: a browser's GET", _CURL, "protocol", "not a WebSocket", "speaks MQTT over WebSocket"),
    Fault(
        "WebSocket: MQTT without one", _PUB, "protocol", "not a WebSocket", "Give the client the port of MQTT over TLS"
    ),
    Fault("WebSocket: a text frame", _WEB, "protocol", "WebSocket protocol error", "Use another client library"),
    # Credential
    Fault("nothing shown", _PUB, "credential", "no credentials", "its README.md has the command line"),
    Fault("wrong password", _PUB, "credential", "bad user name or password", _USER_FIX),
    Fault("unknown user name", _PUB, "credential", "bad user name or password", _USER_FIX),
    Fault("another device's user name", _PAHO, "credential", "bad user name or password", _USER_FIX),
    Fault("too many wrong passwords", _PAHO, "credential", "too many wrong passwords", "wait"),
    Fault("token: expired", _PAHO, "credential", "token expired", "sign a fresh token"),
    Fault("token: the device's clock is 3 h behind", _PAHO, "credential", "token expired", "clock is 3 h behind"),
    Fault(
        "token: the device's clock is 3 h ahead", _PUB, "credential", "token not yet valid", "set the device's clock"
    ),
    Fault("token: the device's clock was never set", _PAHO, "credential", "token expired", "a time server (NTP)"),
    Fault("token: lives too long", _PAHO, "credential", "token lifetime too long", "a fresh token for each session"),
    Fault("token: for another audience", _PAHO, "credential", "token audience wrong", "aud=lockgate"),
    Fault("token: no end", _PAHO, "credential", "token claims missing", "sign tokens with both"),
    Fault("token: another subject", _PAHO, "credential", "token subject wrong", "sign tokens with sub="),
    Fault("token: alg none", _PAHO, "credential", "token algorithm not allowed", "sign the token with ES256"),
    Fault(
        "token: HS256 with the public key",
        _PAHO,
        "credential",
        "token algorithm not allowed",
        "sign the token with ES256",
    ),
    Fault("token: signed by another key", _NODE, "credential", "token signature wrong", "lockgate device token DIR"),
    Fault("token: cut off", _PAHO, "credential", "token malformed", "three parts of base64url"),
    Fault(
        "token: of a device without a key",
        _PAHO,
        "credential",
        "no key for this token",
        "the device's name as the client id",
    ),
    Fault("SCRAM: wrong password", _NODE, "credential", "bad user name or password", _USER_FIX),
    Fault(
        "an unknown authentication method",
        _NODE,
        "credential",
        "bad authentication method",
        "use a method that is offered",
    ),
    Fault(
        "our certificate for a device that nobody registered",
        _PAHO,
        "credential",
        "device not registered",
        "lockgate device add",
    ),
    Fault(
        "our certificate that names another device",
        _PAHO,
        "credential",
        "certificate does not match the device",
        "the certificate that was made for it",
    ),
    Fault("a revoked key", _PAHO, "credential", "credential revoked", "lockgate device rotate"),
    Fault("a key whose overlap is over", _PAHO, "credential", "credential expired", "lockgate device rotate"),
    Fault("revoked while connected", _PAHO, "credential", "credential revoked", "lockgate device rotate"),
    Fault("a token that ends during the session", _PAHO, "credential", "token expired", "a fresh token"),
    Fault(
        "a credential that ends while it is in use",
        _PAHO,
        "credential",
        "credential expired",
        "lockgate device rotate",
    ),
    # Client id
    Fault("another device's client id", _PUB, "client-id", "client id belongs to another device", "use the client id"),
    Fault("a wildcard in the client id", _PAHO, "client-id", "client id not valid", "use the client id"),
    Fault("a client id of 300 characters", _PAHO, "client-id", "client id not valid", "use the client id"),
    Fault(
        "no client id, and a session to be kept (3.1.1)",
        _OPENSSL,
        "client-id",
        "client identifier not valid",
        "the device's name",
    ),
    # Policy
    Fault("a blocked device", _PUB, "policy", "device blocked", "lockgate device unblock"),
    Fault("a device of a blocked group", _PAHO, "policy", "group blocked", "lockgate group unblock matrix-group"),
    Fault(
        "a device of a group that is blocked while it is connected",
        _PAHO,
        "policy",
        "group blocked",
        "lockgate group unblock matrix-team",
    ),
    Fault("blocked while connected", _PAHO, "policy", "device blocked", "lockgate device unblock"),
    Fault("publish: no rule", _PUB, "policy", _NO_RULE, "lockgate policy allow"),
    Fault("publish: no rule (3.1.1)", _PAHO, "policy", _NO_RULE, "lockgate policy allow"),
    Fault("publish: a rule denies it", _PAHO, "policy", "not authorized: a rule denies it", "lockgate policy remove"),
    Fault(
        "publish: QoS above the rule's",
        _PAHO,
        "policy",
        "not authorized: QoS 1 is above the rule's 0",
        "publish within the rule",
    ),
    Fault(
        "publish: retained, and the rule allows none",
        _PAHO,
        "policy",
        "not authorized: the rule allows no retain",
        "publish within the rule",
    ),
    Fault(
        "publish: a QoS level that is not among the rule's",
        _PAHO,
        "policy",
        "not authorized: the rule allows it at QoS 0 and 2",
        "publish within the rule",
    ),
    Fault(
        "publish: a payload larger than the rule's",
        _PAHO,
        "policy",
        "not authorized: the rule allows payloads of up to 10 bytes",
        "publish within the rule",
    ),
    Fault(
        "publish: more often than the rule allows",
        _PAHO,
        "policy",
        "rate exceeded: the rule allows 0.01 messages per second",
        "allow more in place of rule",
    ),
    Fault("publish: for a device that the gateway is not bound to", _PAHO, "policy", _NO_RULE, "lockgate gateway bind"),
    Fault("publish: a role that the device does not hold", _PAHO, "policy", _NO_RULE, "lockgate policy allow"),
    Fault("publish: as the hub ($SYS)", _PAHO, "policy", "not authorized: a rule denies it", "only the hub"),
    Fault("subscribe: no rule covers it", _SUB, "policy", _NO_RULE, "lockgate policy allow"),
    Fault("subscribe: shared, and no rule covers it", _PAHO, "policy", _NO_RULE, "lockgate policy allow"),
    Fault("will: on a forbidden topic", _PAHO, "policy", _NO_RULE, "lockgate policy allow"),
    # Limits
    Fault("a packet too large", _PUB, "limit", "packet too large", "raise mqtt.max_packet_bytes"),
    Fault("a CONNECT too large", _OPENSSL, "limit", "packet too large", "mqtt.max_connect_bytes"),
    Fault(
        "a packet that does not come whole", _OPENSSL, "limit", "packet not finished", "mqtt.packet_deadline_seconds"
    ),
    Fault("silent for longer than the keep-alive", _OPENSSL, "limit", "keep alive timeout", "have it ping in time"),
    Fault("more in flight than the hub takes", _OPENSSL, "limit", "receive maximum exceeded", "mqtt.receive_maximum"),
    Fault("more packets per second than allowed", _PUB, "limit", "rate exceeded", "hub.max_messages_per_second"),
    Fault("too many subscriptions", _SUB, "limit", "too many subscriptions", "raise hub.max_subscriptions"),
    Fault("too many sessions of one device", _PAHO, "limit", "too many sessions", "raise hub.max_sessions_per_device"),
    Fault(
        "too many retained messages", _PAHO, "limit", "too many retained messages", "raise hub.max_retained_messages"
    ),
    Fault(
        "a message for a full queue",
        _PAHO,
        "limit",
        "message dropped: its queue was full",
        "raise hub.max_queued_messages",
    ),
    Fault(
        "a message larger than the client takes",
        _PAHO,
        "limit",
        "message dropped: larger than the client takes",
        "send smaller messages",
    ),
    Fault(
        "WebSocket: a message too large", _WEB, "limit", "WebSocket message too large", "raise mqtt.max_packet_bytes"
    ),
    # Enrolment
    Fault("EST: a wrong claim token", _CURL, "credential", "wrong claim token", _CLAIM),
    Fault("EST: a claim token that is used up", _CURL, "credential", "claim token used up", _CLAIM),
    Fault("EST: a claim token that has expired", _CURL, "credential", "claim token expired", _CLAIM),
    Fault("EST: a claim token that was revoked", _CURL, "credential", "claim token revoked", _CLAIM),
    Fault("EST: a name that the claim token is not for", _CURL, "credential", "claim token is for other names", _CLAIM),
    Fault("EST: a name that is registered already", _CURL, "credential", "device exists already", _CLAIM),
    Fault(
        "EST: a request with a key of RSA 1024",
        _CURL,
        "credential",
        "key refused: an RSA key needs at least 2048 bits, this one has 1024",
        "make a key on P-256: openssl ecparam",
    ),
    Fault(
        "EST: a request that names another device",
        _CURL,
        "credential",
        "certificate request names another device",
        "make the request with -subj",
    ),
    Fault(
        "EST: a body that is no certificate request",
        _CURL,
        "protocol",
        "not a certificate request",
        "make it with: openssl req",
    ),
    Fault("EST: a body that is too large", _CURL, "limit", "payload too large", "office.max_body_bytes"),
    Fault("EST: nothing shown", _CURL, "credential", "no credentials", "curl --user NAME:TOKEN"),
    Fault(
        "EST: a renewal without a certificate",
        _CURL,
        "credential",
        "no client certificate",
        "enrol anew with a claim token",
    ),
    Fault("EST: the certificate of a blocked device", _CURL, "policy", "device blocked", "lockgate device unblock"),
    Fault("EST: the certificate of a revoked device", _CURL, "tls", "certificate revoked", "lockgate device rotate"),
    Fault("EST: an expired certificate", _CURL, "tls", "certificate expired", "issue the device a new certificate"),
    Fault(
        "EST: a certificate whose credential has ended",
        _CURL,
        "credential",
        "credential expired",
        "lockgate device rotate",
    ),
    # CoAP: DTLS, and the door
    Fault("DTLS: an identity that no device has", _GNUTLS, "credential", "unknown PSK identity", "lockgate device add"),
    Fault(
        "DTLS: the identity of a device that has no pre-shared key",
        _COAP,
        "credential",
        "unknown PSK identity",
        "lockgate credential add",
    ),
    Fault(
        "DTLS: identity and key in each other's place",
        _GNUTLS,
        "credential",
        "unknown PSK identity",
        "psk_identity in device.json",
    ),
    Fault("DTLS: a wrong pre-shared key", _GNUTLS, "credential", "wrong pre-shared key", "lockgate device rotate"),
    Fault(
        "DTLS: a wrong pre-shared key, by another library",
        _COAP,
        "credential",
        "wrong pre-shared key",
        "lockgate device rotate",
    ),
    Fault("DTLS: a revoked pre-shared key", _GNUTLS, "credential", "unknown PSK identity", "lockgate device rotate"),
    Fault(
        "DTLS: a raw public key that nobody registered",
        _GNUTLS,
        "credential",
        "unknown raw public key",
        "lockgate device add NAME --auth rpk",
    ),
    Fault("DTLS: a revoked raw public key", _GNUTLS, "credential", "unknown raw public key", "lockgate device rotate"),
    Fault("DTLS: a client certificate of a foreign CA", _GNUTLS, "tls", "unknown issuer", _ISSUE),
    Fault("DTLS: a client certificate of a foreign CA, by another library", _COAP, "tls", "unknown issuer", _ISSUE),
    Fault("DTLS: our CA's name and key id over another's signature", _GNUTLS, "tls", "bad signature", _ISSUE),
    Fault("DTLS: a self-signed client certificate", _GNUTLS, "tls", "self-signed certificate", _ISSUE),
    Fault(
        "DTLS: an expired client certificate",
        _GNUTLS,
        "tls",
        "certificate expired",
        "issue the device a new certificate",
    ),
    Fault(
        "DTLS: a client certificate that is not yet valid",
        _GNUTLS,
        "tls",
        "certificate not yet valid",
        "Check this hub's clock",
    ),
    Fault("DTLS: a certificate for servers, shown by a client", _GNUTLS, "tls", "wrong purpose", _ISSUE),
    Fault("DTLS: a revoked certificate", _GNUTLS, "tls", "certificate revoked", "lockgate device rotate"),
    Fault("DTLS: no client certificate", _OPENSSL, "tls", "no client certificate", _ISSUE),
    Fault("DTLS: another CA file", _OPENSSL, "tls", "client gave up", "Give the client this hub's ca.pem"),
    Fault("DTLS: a host name that is not in the certificate", _OPENSSL, "tls", "client gave up", "add the name to it"),
    Fault(
        "DTLS: the client's clock is 30 years ahead",
        _OPENSSL,
        "tls",
        "client's clock is wrong",
        "Set the client's clock",
    ),
    Fault("DTLS 1.0", _OPENSSL, "tls", "DTLS version not offered", "allow DTLS 1.2"),
    Fault(
        "DTLS: cipher suites with CBC", _OPENSSL, "tls", "no shared cipher suite", "Allow TLS_PSK_WITH_AES_128_CCM_8"
    ),
    Fault(
        "DTLS: a suite of pre-shared keys with CBC",
        _OPENSSL,
        "tls",
        "no shared cipher suite",
        "Allow TLS_PSK_WITH_AES_128_CCM_8",
    ),
    Fault("DTLS: an unknown elliptic curve", _OPENSSL, "tls", "no shared cipher suite", "the curve P-256"),
    Fault("DTLS: a mode that is switched off", _GNUTLS, "tls", "mode not offered", "coap.psk_enabled = true"),
    Fault("CoAP: a PUT that no rule allows", _GNUTLS, "policy", _NO_RULE, "lockgate policy allow"),
    Fault("CoAP: a blocked device", _GNUTLS, "policy", "device blocked", "lockgate device unblock"),
    Fault("CoAP: a wildcard in a topic", _GNUTLS, "protocol", "topic name invalid", "without + and #"),
    # The hub itself
    Fault("the same client id twice", _SUB, "hub", "session taken over", "give each its own client id"),
    Fault("the hub stops", _SUB, "hub", "server shutting down", "connect again soon"),
)


def page() -> str:
    """Give the page of the reference: each kind of refusal, what `why` says of it, and what mends it."""
    rows = "".join(
        f"| {fault.name} | {fault.client} | {fault.step} | {fault.reason} | {fault.fix or 'nothing to mend'} |\n"
        for fault in FAULTS
    )
    mended = sum(fault.is_mended for fault in FAULTS)
    return (
        "# Why a client is refused\n\n"
        f"{len(FAULTS)} kinds of refusal, each made by a real client in `tests/interop/test_fault_matrix.py`; what "
        "`lockgate why` then says is compared with this table, and with every test it must name the right cause. "
        f"For {mended} of them the test also does what the fix says, and sees that the client gets through. "
        "See [](../guides/why.md).\n\n"
        "| fault | client | step | reason | the fix says |\n| --- | --- | --- | --- | --- |\n"
        f"{rows}\n"
        "Not in the table, because no client can make it: a password or token over an unencrypted connection (the "
        " plaintext port is for the lab, where nobody is asked for any).\n"
    )
