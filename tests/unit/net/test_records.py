"""Records: large ones, many at once, one in pieces; and the names below pyOpenSSL's interface that they need."""

from __future__ import annotations

import contextlib
import gc
import ssl
import weakref

import pytest
from OpenSSL import SSL

from lockgate.net.failures import TlsReason
from lockgate.net.records import MAX_RECORD_BYTES, STEP_BYTES, Buffers
from lockgate.net.tls import TlsStream
from tests.support.certificates import Authority
from tests.support.tls import Pair, client_context, server_context

HUB_CA = Authority("Hub CA")
SERVER = server_context(HUB_CA)


def pair() -> Pair:
    """Give a client and a server that have shaken hands."""
    return Pair(SERVER, client_context(HUB_CA)).shake_hands()


def test_the_names_that_pyopenssl_does_not_promise_are_there() -> None:
    """When this fails after an update of pyOpenSSL or cryptography, net/records.py has to follow."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    for name in ("_context", "_verify_callback", "_tlsext_servername_callback"):
        assert hasattr(context, name), name
    connection = SSL.Connection(context, None)
    for name in ("_ssl", "_raise_ssl_error"):
        assert hasattr(connection, name), name
    assert hasattr(SSL, "_raise_current_error")
    for name in [
        "SSL_new",
        "SSL_free",
        "SSL_set_accept_state",
        "SSL_shutdown",
        "SSL_get_session",
        "SSL_get_servername",
        "SSL_get_version",
        "SSL_get_current_cipher",
        "SSL_CIPHER_get_name",
        "SSL_get0_group_name",
        "SSL_CTX_set_verify",
        "SSL_CTX_set_tlsext_servername_callback",
        "SSL_CTX_set_tlsext_status_cb",
        "SSL_set_tlsext_status_ocsp_resp",
        "SSL_get_ex_data_X509_STORE_CTX_idx",
        "SSL_MODE_AUTO_RETRY",
        "TLSEXT_NAMETYPE_host_name",
        "X509_STORE_CTX_get_current_cert",
        "X509_STORE_CTX_get_error",
        "X509_STORE_CTX_get_error_depth",
        "X509_STORE_CTX_get_ex_data",
        "X509_STORE_CTX_set_error",
        "X509_NAME_cmp",
        "X509_get_issuer_name",
        "X509_get_serialNumber",
        "X509_get_subject_name",
        "X509_up_ref",
        "ASN1_STRING_get0_data",
        "ASN1_STRING_length",
        "OPENSSL_malloc",
        "SSL_read",
        "SSL_write",
        "SSL_get_error",
        "SSL_set_bio",
        "SSL_session_reused",
        "SSL_do_handshake",
        "SSL_get_peer_certificate",
        "i2d_X509_bio",
        "X509_free",
        "BIO_free",
        "BIO_new",
        "BIO_new_mem_buf",
        "BIO_read",
        "BIO_write",
        "BIO_set_mem_eof_return",
        "BIO_s_mem",
        "SSL_ERROR_WANT_READ",
        "SSL_ERROR_ZERO_RETURN",
    ]:
        assert hasattr(SSL._lib, name), name  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 4_000, 4_096, 4_097, MAX_RECORD_BYTES, STEP_BYTES - 1_000, STEP_BYTES, 300_000])
def test_what_the_client_sends_at_once_comes_whole_and_in_order(size: int) -> None:
    both = pair()
    sent = bytes(index * index & 255 for index in range(size))
    both.say(sent)
    both.say(b"and more")
    assert both.received == sent + b"and more"


@pytest.mark.parametrize("step", [1, 5, 1_000, 5_000, 16_000])
def test_records_that_come_in_pieces_are_put_together(step: int) -> None:
    both = pair()
    both.client.write(b"x" * 40_000)
    ciphertext = both._outgoing.read()
    for start in range(0, len(ciphertext), step):
        both.feed(ciphertext[start : start + step])
    assert both.received == b"x" * 40_000


def test_a_piece_that_was_only_pointed_at_is_not_read_again() -> None:
    both = pair()
    both.client.write(b"x" * 10_000)
    ciphertext = bytearray(both._outgoing.read())
    both.feed(bytes(ciphertext[:9_000]))  # larger than what is copied: the rest of the record comes later
    both.feed(bytes(ciphertext[9_000:]))
    both.say(b"next")
    assert both.received == b"x" * 10_000 + b"next"


@pytest.mark.parametrize("size", [1, MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1, STEP_BYTES])
def test_what_is_sealed_reaches_the_client(size: int) -> None:
    both = pair()
    both._incoming.write(both.stream.sealed(b"y" * size))
    heard = b""
    while len(heard) < size:
        heard += both.client.read(size)
    assert heard == b"y" * size
    assert both.stream.data_to_send() == b""


def test_connections_that_share_buffers_do_not_mix() -> None:
    buffers = Buffers()
    one, other = Pair(SERVER, client_context(HUB_CA)), Pair(SERVER, client_context(HUB_CA))
    for each in (one, other):
        each.stream = TlsStream(SERVER, buffers)
        each.shake_hands()
    for number in range(3):
        one.say(b"one" * 5_000 * number)
        other.say(b"other" * 100)
    assert one.received == b"one" * 15_000
    assert other.received == b"other" * 300


def test_a_forged_record_is_refused_after_large_ones() -> None:
    both = pair()
    both.say(b"z" * 50_000)
    both.client.write(b"z" * 10_000)
    ciphertext = bytearray(both._outgoing.read())
    ciphertext[200] ^= 1
    both.feed(bytes(ciphertext))
    assert both.failure is not None
    assert both.failure.reason is TlsReason.HANDSHAKE_BROKEN
    assert both.stream.data_to_send()  # the alert
    both.say(b"more")
    assert both.received == b"z" * 50_000


def test_what_came_before_the_close_notify_is_heard() -> None:
    both = pair()
    both.client.write(b"last words" * 1_000)
    with contextlib.suppress(ssl.SSLWantReadError):  # it waits for the hub's close_notify
        both.client.unwrap()
    both.carry()
    assert both.received == b"last words" * 1_000
    assert both.stream.is_closed


@pytest.mark.parametrize("step", ["made", "shaking hands", "established", "refused"])
def test_what_the_engine_holds_is_freed_with_its_connection(step: str) -> None:
    """Some 30 KB for each: they are not to wait until the collector looks for circles."""
    gc.disable()
    try:
        both = Pair(SERVER, client_context(HUB_CA))
        if step == "shaking hands":
            both._client_step(both.client.do_handshake)
            both.carry()
        elif step == "established":
            both.shake_hands().say(b"x" * 10_000)
        elif step == "refused":
            both.feed(b"GET / HTTP/1.1")
        engine = weakref.ref(both.stream._records._ssl)
        assert engine() is not None
        both.stream = TlsStream(SERVER)  # what went before is let go of
        assert engine() is None
    finally:
        gc.enable()
