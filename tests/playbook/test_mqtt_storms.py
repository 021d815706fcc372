"""A storm of subscriptions: each is answered in its turn and in its order, and who only talks is not kept waiting."""

from __future__ import annotations

from lockgate.adapters.mqtt.packets import Publish, Suback, Subscribe, SubscriptionRequest
from lockgate.adapters.mqtt.turns import PER_TURN
from lockgate.model.topic import TopicFilter, TopicName
from tests.support.playbook import Playbook


def test_everybody_is_answered_and_hears_what_it_says_after_its_subscribe() -> None:
    hub = Playbook()
    clients = [hub.client(f"sensor{number}") for number in range(3 * PER_TURN)]
    topic = "shared/x"
    for number, client in enumerate(clients):
        request = SubscriptionRequest(TopicFilter(f"own/{number}"), 0)
        hub.door.turns.spend(PER_TURN)  # the turn is full before it comes
        client.sends(
            Subscribe(7, (request,)), Publish(TopicName(f"own/{number}"), b"mine", 0), Publish(TopicName(topic), b"", 0)
        )
    for client in clients:
        kinds = [type(packet) for packet in client.packets()]
        assert kinds == [Suback, Publish]
    assert len(hub.door.turns) == 0
