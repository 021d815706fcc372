"""Handshakes: so many per network and second, so many at once, a few in each turn of the loop."""

from __future__ import annotations

from collections.abc import Callable

from lockgate.net.failures import TlsFailure
from lockgate.net.handshakes import MAX_NETWORKS, PER_TURN, Handshakes
from lockgate.net.link import NetLimits

LIMITS = NetLimits(max_handshakes=5, max_handshakes_per_second_per_address=10, max_handshake_burst_per_address=20)


class World:
    def __init__(self, max_networks: int = MAX_NETWORKS) -> None:
        self.soon: list[Callable[[], None]] = []
        self.handshakes = Handshakes(self.soon.append, max_networks)

    def begins(self, count: int, network: str = "192.0.2.7", now: float = 100.0) -> int:
        """Begin and end some handshakes; say how many were refused."""
        refused = 0
        for _ in range(count):
            link = Link(self)
            refused += self.handshakes.begin(link, network, LIMITS, now) is not None
            self.handshakes.end(link)
        return refused

    def turn(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for each in soon:
            each()


class Link:
    def __init__(self, world: World) -> None:
        self.world = world
        self.failures: list[TlsFailure] = []
        self.steps = 0

    def give_way(self, failure: TlsFailure) -> None:
        self.failures.append(failure)
        self.world.handshakes.end(self)

    def shake_on(self) -> None:
        self.steps += 1

    def is_fed(self) -> None:
        self.steps += self.world.handshakes.may_go_on(self)


def test_a_network_has_a_burst_and_then_its_rate() -> None:
    world = World()
    assert world.begins(20) == 0
    assert world.begins(5) == 5
    assert world.begins(5, now=100.31) == 2
    assert world.begins(5, network="192.0.2.8") == 0
    assert world.begins(21, now=200) == 1


def test_a_refusal_names_the_network_and_the_setting() -> None:
    world = World()
    world.begins(20)
    refusal = world.handshakes.begin(Link(world), "192.0.2.7", LIMITS, 100.0)
    assert refusal is not None
    assert refusal.message == "192.0.2.7 began more than 20 TLS handshakes at once, or 10 per second"
    assert "net.max_handshakes_per_second_per_address" in refusal.fix
    assert len(world.handshakes) == 0


def test_without_a_rate_nothing_is_counted() -> None:
    world = World()
    limits = NetLimits(max_handshakes_per_second_per_address=0)
    assert all(world.handshakes.begin(Link(world), "a", limits, 1.0) is None for _ in range(100))


def test_the_oldest_gives_way_when_too_many_are_under_way() -> None:
    world = World()
    links = [Link(world) for _ in range(7)]
    for link in links:
        assert world.handshakes.begin(link, "192.0.2.7", LIMITS, 100.0) is None
    assert [len(link.failures) for link in links] == [1, 1, 0, 0, 0, 0, 0]
    assert "max_handshakes" in links[0].failures[0].fix
    world.handshakes.end(links[3])
    assert len(world.handshakes) == 4


def test_networks_are_forgotten_when_their_rate_is_settled_and_when_there_are_too_many() -> None:
    world = World(max_networks=10)
    for number in range(50):
        world.begins(1, network=f"192.0.2.{number}")
    assert len(world.handshakes._until) == 10
    world.begins(1, network="198.51.100.1", now=500.0)
    assert list(world.handshakes._until) == ["198.51.100.1"]


def test_a_few_go_on_in_each_turn_and_the_others_in_their_order() -> None:
    world = World()
    links = [Link(world) for _ in range(2 * PER_TURN + 1)]
    for link in links:
        link.is_fed()
    done = [sum(link.steps for link in links)]
    while world.soon:
        world.turn()
        done.append(sum(link.steps for link in links))
    assert done[:3] == [PER_TURN, 2 * PER_TURN, 2 * PER_TURN + 1]
    assert {link.steps for link in links} == {1}


def test_who_comes_while_others_wait_takes_the_turn_of_none() -> None:
    world = World()
    waiting = [Link(world) for _ in range(2 * PER_TURN)]
    for link in waiting:
        link.is_fed()
    world.turn()
    late = Link(world)
    late.is_fed()
    assert late.steps == 0, "this turn's share is used up by those that waited"
    world.turn()
    assert late.steps == 1
