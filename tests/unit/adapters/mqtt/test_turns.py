"""In one turn so many subscriptions are taken; the others wait in their order, and nobody else does."""

from __future__ import annotations

from collections.abc import Callable

from lockgate.adapters.mqtt.turns import MAX_HELD_BYTES, PER_TURN, SUBSCRIBE, Turns

ONE = bytes([SUBSCRIBE]) + b"..."
PUBLISH = b"\x30..."


class Door:
    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.turns = Turns(self.calls.append)
        self.taken: list[str] = []

    def turn(self) -> None:
        calls, self.calls[:] = self.calls[:], []
        for call in calls:
            call()


class Client:
    def __init__(self, door: Door, name: str) -> None:
        self.door = door
        self.name = name

    def sends(self, data: bytes, is_at_a_packet: bool = True) -> None:
        if self.door.turns.is_full:
            data = self.door.turns.hold(self, data, is_at_a_packet)
        if data:
            self.take(data)

    def take(self, data: bytes) -> None:
        self.door.taken.append(self.name)
        if data[0] == SUBSCRIBE:
            self.door.turns.spend(1)


def test_a_storm_is_taken_turn_by_turn_and_first_come_is_first_served() -> None:
    door = Door()
    clients = [Client(door, str(number)) for number in range(5 * PER_TURN)]
    for client in clients:
        client.sends(ONE)
    for turn in range(1, 6):
        assert door.taken == [client.name for client in clients[: turn * PER_TURN]]
        door.turn()
    assert len(door.turns) == 0
    door.turn()
    assert not door.turns.is_full
    assert door.calls == []


def test_who_sends_no_subscribe_waits_for_nobody_unless_its_own_does() -> None:
    door = Door()
    door.turns.spend(PER_TURN)
    sensor, phone, slow = Client(door, "sensor"), Client(door, "phone"), Client(door, "slow")
    sensor.sends(PUBLISH)
    phone.sends(ONE)
    phone.sends(PUBLISH, is_at_a_packet=False)
    slow.sends(ONE, is_at_a_packet=False)  # bytes in the middle of a packet that look like a SUBSCRIBE
    assert door.taken == ["sensor", "slow"]
    door.turn()
    assert door.taken == ["sensor", "slow", "phone"]


def test_a_packet_of_many_filters_fills_a_turn_alone() -> None:
    door = Door()
    door.turns.spend(1000)
    assert door.turns.is_full
    door.turn()
    door.turn()
    assert not door.turns.is_full


def test_what_is_held_of_one_client_is_bounded_and_given_out_when_it_ends() -> None:
    door = Door()
    door.turns.spend(PER_TURN)
    flood, gone = Client(door, "flood"), Client(door, "gone")
    flood.sends(ONE)
    flood.sends(bytes(MAX_HELD_BYTES))
    assert door.taken == ["flood"]
    gone.sends(ONE + PUBLISH)
    assert door.turns.release(gone) == ONE + PUBLISH
    assert door.turns.release(gone) == b""
    assert len(door.turns) == 0
