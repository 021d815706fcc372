"""TLS without sockets: handshakes, refusals with their reasons, alerts, resumption."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from lockgate.net.failures import TlsReason
from tests.support.certificates import Authority, Issued, forged, self_signed
from tests.support.tls import Pair, client_context, server_context

HUB_CA = Authority("Hub CA")
OTHER_CA = Authority("Other CA")
SERVER = server_context(HUB_CA)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_mutual_handshake_tells_protection_and_certificate(version: ssl.TLSVersion) -> None:
    device = HUB_CA.issue("sensor")
    pair = Pair(SERVER, client_context(HUB_CA, device, version=version)).shake_hands()
    assert pair.stream.is_established
    protection = pair.stream.protection()
    assert protection.version == version.name.replace("_", ".")
    assert "GCM" in protection.cipher
    assert protection.group.lower() == "x25519"
    assert protection.server_name == "localhost"
    assert not protection.is_resumed
    assert pair.stream.peer_certificate() == device.certificate


def test_client_certificate_is_optional() -> None:
    pair = Pair(SERVER, client_context(HUB_CA)).shake_hands()
    assert pair.stream.is_established
    assert pair.stream.peer_certificate() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_data_crosses_both_ways(version: ssl.TLSVersion) -> None:
    pair = Pair(SERVER, client_context(HUB_CA, version=version)).shake_hands()
    pair.say(b"temperature 21")
    assert pair.received == b"temperature 21"
    pair.stream.send_data(b"command")
    pair.shake_hands()
    assert pair.answered == b"command"


def test_data_larger_than_many_records_crosses_whole() -> None:
    pair = Pair(SERVER, client_context(HUB_CA)).shake_hands()
    large = bytes(range(256)) * 2000
    pair.say(large)
    assert pair.received == large
    pair.stream.send_data(large)
    pair.shake_hands()
    assert pair.answered == large


def test_data_in_single_bytes_crosses_whole() -> None:
    pair = Pair(SERVER, client_context(HUB_CA)).shake_hands()
    pair.client.write(b"slowly")
    for byte in pair._outgoing.read():
        pair.feed(bytes([byte]))
    assert pair.received == b"slowly"


def test_data_sent_before_the_handshake_waits_for_it() -> None:
    pair = Pair(SERVER, client_context(HUB_CA))
    pair.stream.send_data(b"early ")
    pair.stream.send_data(b"words")
    assert pair.stream.data_to_send() == b""
    pair.shake_hands()
    assert pair.answered == b"early words"


def test_data_that_waits_for_the_handshake_is_bounded() -> None:
    pair = Pair(SERVER, client_context(HUB_CA))
    with pytest.raises(BufferError, match="1048576"):
        pair.stream.send_data(bytes(1_048_577))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("device", "reason", "alert"),
    [
        (HUB_CA.issue_expired(), TlsReason.CERTIFICATE_EXPIRED, "CERTIFICATE_EXPIRED"),
        (HUB_CA.issue_future(), TlsReason.CERTIFICATE_NOT_YET_VALID, "BAD_CERTIFICATE"),
        (OTHER_CA.issue(), TlsReason.UNKNOWN_ISSUER, "UNKNOWN_CA"),
        (self_signed(), TlsReason.SELF_SIGNED, "UNKNOWN_CA"),
        (HUB_CA.issue(purpose="server"), TlsReason.WRONG_PURPOSE, "UNSUPPORTED_CERTIFICATE"),
        (forged(HUB_CA), TlsReason.BAD_SIGNATURE, "DECRYPT_ERROR"),
    ],
    ids=lambda each: each.name if isinstance(each, TlsReason) else "",
)
def test_bad_client_certificate_is_refused_with_its_reason_and_an_alert(
    version: ssl.TLSVersion, device: Issued, reason: TlsReason, alert: str
) -> None:
    pair = Pair(SERVER, client_context(HUB_CA, device, version=version)).shake_hands()
    assert not pair.stream.is_established
    assert pair.failure is not None
    assert pair.failure.reason is reason
    assert "'sensor'" in pair.failure.message
    assert pair.failure.fix
    assert pair.failure.certificate == device.certificate
    assert pair.failure.server_name == "localhost"
    assert pair.stream.peer_certificate() is None
    assert pair.client_error is not None
    assert alert in str(pair.client_error.reason)


def test_clock_trouble_says_by_how_much() -> None:
    expired = HUB_CA.issue_expired(ago=timedelta(days=2, hours=5, minutes=30))
    failure = Pair(SERVER, client_context(HUB_CA, expired)).shake_hands().failure
    assert failure is not None
    assert "2 days 5 hours ago" in failure.message
    assert f"by the hub's clock ({datetime.now(UTC):%Y-%m-%d}" in failure.message
    future = HUB_CA.issue_future(ahead=timedelta(hours=7, minutes=10, seconds=30))
    failure = Pair(SERVER, client_context(HUB_CA, future)).shake_hands().failure
    assert failure is not None
    assert "7 hours 10 minutes from now" in failure.message


def test_certificate_of_an_issuing_ca_below_the_trust_anchor_is_accepted() -> None:
    issuing = Authority("Issuing CA", parent=HUB_CA)
    pair = Pair(SERVER, client_context(HUB_CA, issuing.issue())).shake_hands()
    assert pair.stream.is_established


def test_expired_issuing_ca_is_named() -> None:
    pair = Pair(SERVER, client_context(HUB_CA, Authority("Far CA", parent=OTHER_CA).issue())).shake_hands()
    assert pair.failure is not None
    assert pair.failure.reason is TlsReason.UNKNOWN_ISSUER
    assert "CA certificate" in pair.failure.message


def test_nothing_is_read_after_a_refusal() -> None:
    pair = Pair(SERVER, client_context(HUB_CA, self_signed())).shake_hands()
    pair.feed(b"\x17\x03\x03\x00\x01a")
    assert pair.received == b""
    pair.stream.send_data(b"secret")
    assert pair.stream.data_to_send() == b""


def test_tls_1_1_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client = client_context(HUB_CA, version=ssl.TLSVersion.TLSv1_1, ciphers="DEFAULT:@SECLEVEL=0")
    pair = Pair(SERVER, client).shake_hands()
    assert pair.failure is not None
    assert pair.failure.reason is TlsReason.VERSION_NOT_OFFERED
    assert "TLS 1.1" in pair.failure.message
    assert pair.client_error is not None
    assert "PROTOCOL_VERSION" in str(pair.client_error.reason)


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256"])
def test_suite_without_aead_or_forward_secrecy_is_refused(suite: str) -> None:
    client = client_context(HUB_CA, version=ssl.TLSVersion.TLSv1_2, ciphers=suite)
    pair = Pair(SERVER, client).shake_hands()
    assert pair.failure is not None
    assert pair.failure.reason is TlsReason.NO_SHARED_CIPHER
    assert pair.client_error is not None
    assert "HANDSHAKE_FAILURE" in str(pair.client_error.reason)


@pytest.mark.parametrize(
    "suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-CCM"]
)
def test_aead_suites_with_forward_secrecy_are_offered(suite: str) -> None:
    client = client_context(HUB_CA, version=ssl.TLSVersion.TLSv1_2, ciphers=suite)
    assert Pair(SERVER, client).shake_hands().stream.protection().cipher == suite


def test_wrong_signature_over_the_handshake_is_refused() -> None:
    client = client_context(HUB_CA, HUB_CA.issue(), version=ssl.TLSVersion.TLSv1_2)
    pair = Pair(SERVER, client)
    pair._client_step(pair.client.do_handshake)
    pair.carry()
    pair._client_step(pair.client.do_handshake)
    flight = bytearray(pair._outgoing.read())
    flight[_end_of_certificate_verify(flight) - 1] ^= 1
    pair.feed(bytes(flight))
    assert pair.failure is not None
    assert pair.failure.reason is TlsReason.BAD_SIGNATURE


def _end_of_certificate_verify(flight: bytes | bytearray) -> int:
    """Walk the TLS 1.2 records up to ChangeCipherSpec (type 20): CertificateVerify is the last before it."""
    position = 0
    while flight[position] != 20:
        position += 5 + int.from_bytes(flight[position + 3 : position + 5], "big")
    return position


@pytest.mark.parametrize(
    ("first_bytes", "words"),
    [
        (b"\x10\x0c\x00\x04MQTT\x04\x02\x00<\x00\x00", "MQTT CONNECT"),
        (b"GET / HTTP/1.1\r\n", "HTTP request"),
        (b"AMQP\x00\x01\x00\x00", "AMQP header"),
        (b"\x00\x01\x02\x03", "no TLS record"),
    ],
)
def test_plain_text_is_recognised(first_bytes: bytes, words: str) -> None:
    pair = Pair(SERVER, client_context(HUB_CA))
    pair.feed(first_bytes)
    assert pair.failure is not None
    assert pair.failure.reason is TlsReason.NOT_TLS
    assert words in pair.failure.message


def test_damaged_handshake_is_refused() -> None:
    pair = Pair(SERVER, client_context(HUB_CA))
    pair.feed(b"\x16\x03\x01\x00\x05\x63\x00\x00\x01\x00")
    assert pair.failure is not None
    assert pair.failure.reason is TlsReason.HANDSHAKE_BROKEN
    assert pair.stream.data_to_send()[0] == 21  # an alert record


@pytest.mark.parametrize("version", VERSIONS)
def test_client_that_does_not_trust_our_ca_is_reported(version: ssl.TLSVersion) -> None:
    pair = Pair(SERVER, client_context(OTHER_CA, version=version)).shake_hands()
    assert pair.failure is not None
    assert pair.failure.reason is TlsReason.CLIENT_GAVE_UP
    assert "does not trust our CA" in pair.failure.message
    assert "ca.pem" in pair.failure.fix


def test_client_that_misses_its_name_is_reported_with_the_name() -> None:
    pair = Pair(SERVER, client_context(HUB_CA), server_name="pi.local").shake_hands()
    assert pair.failure is not None
    assert pair.failure.reason is TlsReason.CLIENT_GAVE_UP
    assert "pi.local, is not in the server certificate" in pair.failure.message
    assert not pair.stream.is_name_covered


@pytest.mark.parametrize(
    ("name", "is_covered"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
    ],
)
def test_names_are_covered_as_clients_see_it(name: str, is_covered: bool) -> None:
    assert SERVER.covers(name) is is_covered


def test_address_is_never_a_server_name() -> None:
    pair = Pair(SERVER, client_context(HUB_CA), server_name="127.0.0.1").shake_hands()
    assert pair.stream.is_established
    assert pair.stream.server_name is None
    assert pair.stream.is_name_covered


@pytest.mark.parametrize("version", VERSIONS)
def test_session_is_resumed_with_certificate_and_name(version: ssl.TLSVersion) -> None:
    device = HUB_CA.issue()
    client = client_context(HUB_CA, device, version=version)
    first = Pair(SERVER, client).shake_hands()
    again = Pair(SERVER, client, session=first.client.session).shake_hands()
    assert again.client.session_reused
    assert again.stream.protection().is_resumed
    assert again.stream.peer_certificate() == device.certificate
    assert again.stream.server_name == "localhost"
    assert len(again.from_server) < len(first.from_server) / 2


def test_resumption_does_not_outlive_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_context(HUB_CA, HUB_CA.issue(valid_until=datetime.now(UTC) + timedelta(days=1)))
    first = Pair(SERVER, client).shake_hands()

    class TwoDaysLater(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> TwoDaysLater:
            return cls.fromtimestamp(time.time() + 2 * 86_400, tz)

    monkeypatch.setattr("lockgate.net.tls.datetime", TwoDaysLater)
    again = Pair(SERVER, client, session=first.client.session).shake_hands()
    assert again.failure is not None
    assert again.failure.reason is TlsReason.CERTIFICATE_EXPIRED
    assert not again.stream.is_established
    assert again.stream.peer_certificate() is None


@pytest.mark.requirement("T13")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_of_a_device_that_was_revoked_since_opens_nothing(version: ssl.TLSVersion) -> None:
    server, device = server_context(HUB_CA), HUB_CA.issue()
    revoked: list[object] = []
    server.is_barred = lambda shown: shown in revoked
    client = client_context(HUB_CA, device, version=version)
    first = Pair(server, client).shake_hands()
    good = Pair(server, client, session=first.client.session).shake_hands()
    assert good.stream.protection().is_resumed
    revoked.append(device.certificate)
    again = Pair(server, client, session=good.client.session or first.client.session).shake_hands()
    assert again.failure is not None
    assert again.failure.reason is TlsReason.CERTIFICATE_REVOKED
    again.say(b"let me in")
    assert (again.received, again.stream.is_established, again.stream.peer_certificate()) == (b"", False, None)


def test_tickets_end_with_their_context() -> None:
    client = client_context(HUB_CA, HUB_CA.issue())
    first = Pair(SERVER, client).shake_hands()
    again = Pair(server_context(HUB_CA), client, session=first.client.session).shake_hands()
    assert again.stream.is_established
    assert not again.stream.protection().is_resumed


def test_close_notify_goes_both_ways() -> None:
    pair = Pair(SERVER, client_context(HUB_CA)).shake_hands()
    pair.client.write(b"last words")
    pair._client_step(pair.client.unwrap)
    pair.carry()
    assert pair.received == b"last words"
    assert pair.stream.is_closed
    assert pair.stream.receive_data(b"more") == b""
    pair.stream.send_data(b"an answer to them")  # RFC 8446 section 6.1: each side ends its own direction
    pair.stream.close()
    pair.carry()
    assert pair.client.read(100) == b"an answer to them"
    pair._client_step(pair.client.unwrap)
    assert pair.client_error is None


def test_our_close_notify_reaches_the_client() -> None:
    pair = Pair(SERVER, client_context(HUB_CA)).shake_hands()
    pair.stream.send_data(b"bye")
    pair.stream.close()
    pair.stream.send_data(b"never sent")
    pair.carry()
    assert pair.client.read(100) == b"bye"
    assert pair.client.read(100) == b""  # an orderly end: without close_notify this raises


def test_root_is_not_sent_but_the_issuing_ca_is() -> None:
    issuing = Authority("Issuing CA", parent=HUB_CA)
    hub = issuing.issue("hub", names=["localhost"], purpose="server")
    client = client_context(HUB_CA, version=ssl.TLSVersion.TLSv1_2)
    pair = Pair(server_context(HUB_CA, hub), client).shake_hands()
    assert pair.stream.is_established
    assert b"Issuing CA" in pair.from_server
    # Once: as the issuer inside the issuing CA's certificate.
    assert pair.from_server.count(b"Hub CA") == 1
