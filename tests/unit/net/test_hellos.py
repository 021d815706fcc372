"""What is read of a ClientHello, from datagrams made for the test."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.net.hellos import Hello, is_client_hello, is_psk_suite, read_hello, records_of
from tests.support.dtls import ECDSA_CCM_8, PSK_CCM_8, client_hello, record


def _read(data: bytes) -> Hello:
    hello = read_hello(memoryview(data))
    assert hello is not None
    return hello


def test_hello_is_read_with_what_it_offers() -> None:
    hello = _read(client_hello(bytes(range(32)), b"cookie", (PSK_CCM_8, ECDSA_CCM_8), b"\x02\x00"))
    assert hello.random == bytes(range(32))
    assert hello.is_dtls_1_2
    assert hello.suites == [PSK_CCM_8, ECDSA_CCM_8]
    assert hello.certificate_types == [2, 0]
    assert hello.has_psk
    assert hello.has_certificates


def test_hello_of_keys_alone_has_no_certificates() -> None:
    hello = _read(client_hello(suites=(PSK_CCM_8, 0x00FF)))
    assert hello.has_psk
    assert not hello.has_certificates
    assert hello.certificate_types == []


def test_dtls_1_0_is_told_from_1_2() -> None:
    assert not _read(client_hello(version=b"\xfe\xff")).is_dtls_1_2


def test_hello_may_have_no_extensions() -> None:
    whole = client_hello()
    body = whole[25 : 25 + 34 + 1 + 1 + 4 + 2]
    size = len(body).to_bytes(3, "big")
    assert _read(record(22, b"\x01" + size + bytes(5) + size + body)).suites == [PSK_CCM_8]


def test_suites_of_all_keyed_exchanges_are_known_as_such() -> None:
    assert all(map(is_psk_suite, (0x008C, 0x00A8, 0xC0A8, 0xCCAB, 0xD005)))
    assert not any(map(is_psk_suite, (0xC02B, 0xC0AE, 0xCCA9, 0x1301)))


def test_only_a_hello_in_epoch_0_is_one() -> None:
    hello = client_hello()
    assert is_client_hello(memoryview(hello))
    for other in (b"", hello[:20], record(23, hello[13:]), record(22, hello[13:], epoch=1), record(22, b"\2" * 40)):
        assert not is_client_hello(memoryview(other))


def test_hello_in_fragments_is_not_read() -> None:
    hello = bytearray(client_hello())
    hello[24] -= 1  # the fragment is shorter than the message
    assert read_hello(memoryview(bytes(hello))) is None
    assert read_hello(memoryview(client_hello()[:-1])) is None


def test_records_of_a_datagram_are_listed() -> None:
    data = record(22, b"abc") + record(20, b"\1") + record(22, b"sealed", epoch=1)
    assert records_of(memoryview(data)) == [(22, 0), (20, 0), (22, 1)]
    assert records_of(memoryview(data[:5])) == []


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(tail: bytes) -> None:
    data = memoryview(client_hello()[:25] + tail)
    read_hello(data)
    records_of(data)
    is_client_hello(memoryview(tail))


@given(st.integers(0, 120), st.integers(0, 255))
def test_no_changed_byte_breaks_the_reading(at: int, value: int) -> None:
    data = bytearray(client_hello(cookie=bytes(16), certificate_types=b"\x02\x00"))
    data[at % len(data)] = value
    read_hello(memoryview(bytes(data)))
