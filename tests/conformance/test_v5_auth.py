"""MQTT 5.0 sections 3.15 and 4.12: AUTH, enhanced authentication and re-authentication."""

from __future__ import annotations

import pytest
from scramp import ScramClient

from tests.conformance import codec
from tests.conformance.client import Hub, Peer
from tests.conformance.codec import Auth, Connack
from tests.conformance.conftest import Own
from tests.conformance.marks import needs_lockgate, statement

METHOD = "SCRAM-SHA-256"
DEVICE = "samovar"
CONTINUE, REAUTHENTICATE = 0x18, 0x19


@pytest.fixture(scope="session")
def password(own: Own) -> str:
    """The password of a device that proves itself by SCRAM."""
    folder = own.running.add_device(DEVICE, "scram-sha-256", "--publish", "samovar/#", "--receive", "samovar/#")
    return next(folder.glob("*password*")).read_text()


class Client:
    """A client's side of the exchanges of one connection."""

    def __init__(self, hub: Hub, own: Own, password: str, **properties: object) -> None:
        self.peer: Peer = hub.open(address=own.address)
        self.auths: list[Auth] = []
        self._password = password
        self._properties = properties

    def connect(self) -> None:
        """Send the CONNECT with client-first in it, and answer the challenge."""
        scram = self._scram()
        properties = {"authentication_method": METHOD, "authentication_data": scram.get_client_first().encode()}
        self.peer.send_connect(DEVICE, properties={**properties, **self._properties})
        self._answer(scram)

    def reauthenticate(self) -> None:
        """Begin anew with AUTH 0x19, and answer the challenge."""
        scram = self._scram()
        self.send(REAUTHENTICATE, scram.get_client_first().encode())
        self._answer(scram)

    def send(self, code: int, data: bytes, method: str = METHOD) -> None:
        """Send an AUTH."""
        self.peer.send_raw(codec.auth(code, {"authentication_method": method, "authentication_data": data}))

    def _scram(self) -> ScramClient:
        return ScramClient([METHOD], DEVICE, self._password)

    def _answer(self, scram: ScramClient) -> None:
        challenge = self.peer.expect(Auth)
        self.auths.append(challenge)
        data = challenge.properties["authentication_data"]
        assert isinstance(data, bytes)
        scram.set_server_first(data.decode())
        self.send(CONTINUE, scram.get_client_final().encode())


@statement("5.0", "MQTT-3.15.1-1", "MQTT-4.13.1-1")
@pytest.mark.parametrize("flags", [0b0001, 0b0010, 0b0100, 0b1000])
def test_auth_with_a_reserved_flag_ends_the_connection(hub: Hub, flags: int) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.frame(codec.AUTH, b"\x19\x00", flags), codec.frame(codec.PINGREQ, b""))
    peer.expect_end(0x81, 0x82)


@needs_lockgate
@statement("5.0", "MQTT-3.15.1-1")
def test_auth_with_a_reserved_flag_ends_an_exchange(hub: Hub, own: Own, password: str) -> None:
    client = Client(hub, own, password)
    client.connect()
    client.peer.expect_connack()
    client.peer.send_raw(codec.frame(codec.AUTH, b"\x19\x00", 0b0010))
    client.peer.expect_end(0x81)


@needs_lockgate
@statement("5.0", "MQTT-3.15.2-1", "MQTT-4.12.0-2", "MQTT-4.12.0-5")
def test_an_exchange_has_the_codes_and_the_method_that_it_should(hub: Hub, own: Own, password: str) -> None:
    client = Client(hub, own, password)
    client.connect()
    connack = client.peer.expect_connack()
    client.reauthenticate()
    done = client.peer.expect(Auth)
    assert [auth.code for auth in (*client.auths, done)] == [CONTINUE, CONTINUE, 0x00]
    said: list[Auth | Connack] = [*client.auths, connack, done]
    assert [packet.properties["authentication_method"] for packet in said] == [METHOD] * 4


@needs_lockgate
@statement("5.0", "MQTT-3.15.2-1")
@pytest.mark.parametrize("code", [0x01, 0x17, 0x80])
def test_an_auth_with_another_code_ends_the_connection(hub: Hub, own: Own, password: str, code: int) -> None:
    client = Client(hub, own, password)
    client.connect()
    client.peer.expect_connack()
    client.send(code, b"")
    client.peer.expect_end(0x81, 0x82)


@needs_lockgate
@statement("5.0", "MQTT-3.15.2-2", "MQTT-3.15.2-3")
def test_no_auth_is_larger_than_the_client_takes(hub: Hub, own: Own, password: str) -> None:
    """What may not be left out of these takes some 230 bytes; nothing that may be left out comes on top."""
    client = Client(hub, own, password, maximum_packet_size=260)
    client.connect()
    client.peer.expect_connack()  # the peer judges each packet's size
    client.reauthenticate()
    client.peer.expect(Auth, code=0x00)


@needs_lockgate
@statement("5.0", "MQTT-3.15.2-2", "MQTT-3.15.2-3", "MQTT-4.12.0-4")
def test_an_auth_that_cannot_be_small_enough_ends_the_connection(hub: Hub, own: Own, password: str) -> None:
    peer = hub.open(address=own.address)
    first = ScramClient([METHOD], DEVICE, password).get_client_first().encode()
    words = {"authentication_method": METHOD, "authentication_data": first, "maximum_packet_size": 100}
    peer.send_connect(DEVICE, properties=words)
    peer.expect_end(0x95)


@statement("5.0", "MQTT-4.12.0-1")
def test_an_authentication_method_that_is_not_supported_ends_the_connection(hub: Hub) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), properties={"authentication_method": "NONE SUCH"})
    peer.expect_end(0x8C, 0x87)


@needs_lockgate
@statement("5.0", "MQTT-4.12.0-4")
def test_a_proof_that_is_wrong_ends_the_connection(hub: Hub, own: Own, password: str) -> None:
    client = Client(hub, own, password + "!")
    client.connect()
    client.peer.expect_end(0x86, 0x87)


@needs_lockgate
@statement("5.0", "MQTT-4.12.0-4")
@pytest.mark.parametrize("code", [0x00, REAUTHENTICATE])
def test_an_answer_with_another_code_than_continue_ends_the_connection(
    hub: Hub, own: Own, password: str, code: int
) -> None:
    peer = hub.open(address=own.address)
    first = ScramClient([METHOD], DEVICE, password).get_client_first().encode()
    peer.send_connect(DEVICE, properties={"authentication_method": METHOD, "authentication_data": first})
    peer.expect(Auth)
    peer.send_raw(codec.auth(code, {"authentication_method": METHOD, "authentication_data": b""}))
    peer.expect_end(0x82)


@statement("5.0", "MQTT-4.12.0-6")
def test_without_a_method_the_server_sends_no_auth_and_no_method(hub: Hub) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"))
    first = peer.receive()
    assert isinstance(first, Connack)
    assert not {"authentication_method", "authentication_data"} & set(first.properties)


@statement("5.0", "MQTT-4.12.0-6", "MQTT-4.12.1-2")
@pytest.mark.parametrize("code", [0x00, CONTINUE, REAUTHENTICATE])
def test_an_auth_without_a_method_in_the_connect_ends_the_connection(hub: Hub, code: int) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.auth(code, {"authentication_method": METHOD}), codec.frame(codec.PINGREQ, b""))
    peer.expect_end(0x82, 0x8C)


@needs_lockgate
@statement("5.0", "MQTT-4.12.1-2")
def test_a_re_authentication_with_a_wrong_proof_ends_the_connection(hub: Hub, own: Own, password: str) -> None:
    client = Client(hub, own, password)
    client.connect()
    client.peer.expect_connack()
    client.send(REAUTHENTICATE, ScramClient([METHOD], DEVICE, password).get_client_first().encode())
    client.peer.expect(Auth, code=CONTINUE)
    client.send(CONTINUE, b"c=biws,r=wrong,p=d3Jvbmc=")
    client.peer.expect_disconnect(0x87, 0x86, 0x80)


@needs_lockgate
@statement("5.0", "MQTT-4.12.1-2")
def test_a_re_authentication_by_another_method_ends_the_connection(hub: Hub, own: Own, password: str) -> None:
    client = Client(hub, own, password)
    client.connect()
    client.peer.expect_connack()
    client.send(REAUTHENTICATE, b"token", method="jwt")
    client.peer.expect_disconnect(0x82, 0x87, 0x8C)


@needs_lockgate
@statement("5.0", "MQTT-4.12.1-2")
def test_what_is_under_way_goes_on_after_a_re_authentication(hub: Hub, own: Own, password: str) -> None:
    client = Client(hub, own, password)
    client.connect()
    client.peer.expect_connack()
    client.peer.subscribe("samovar/a", qos=1)
    client.reauthenticate()
    client.peer.expect(Auth, code=0x00)
    client.peer.send_publish("samovar/a", b"still here")
    client.peer.expect_message(payload=b"still here")
