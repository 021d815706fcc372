"""Threat: a device was taken, with everything in its folder; the thief wants to be, to hear or to move another one.

Six devices, one for each kind of credential. In turn each is the thief, and all others are its victims: they listen to
all of their own while it tries every door of MQTT. At the end none of them has heard anything that is not its own, the
thief has heard nothing of theirs, nobody has lost a message, and every attempt is on record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    Auth,
    Connect,
    Disconnect,
    Properties,
    Puback,
    Publish,
    Pubrec,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    WillPacket,
)
from lockgate.model.topic import TopicName
from tests.support.forgery import claims, new_key_pem, signed, unsigned
from tests.support.hub import RunningHub, eventually
from tests.support.intruder import V5, V311, Ledger, Line, Thief, why_not
from tests.support.scram import METHOD, ScramPeer

pytestmark = [pytest.mark.process, pytest.mark.requirement("I1", "I8")]

KINDS = ("x509", "jwt-es256", "jwt-rs256", "jwt-eddsa", "password", "scram-sha-256")
DOORS = ("mqtt", "websocket")
SETTINGS = """
[identity]
wrong_passwords_before_lockout = 10000

[net]
max_handshakes_per_second_per_address = 100000
max_handshake_burst_per_address = 100000
"""
"""What slows a thief down is not what keeps it out: it may try as often as it likes."""

NOT_ITS_ID = "client id belongs to another device"
BAD_ID = "client id not valid"
MALFORMED = "malformed packet"
BROKEN = "protocol error"
NO_RULE = "not authorized: no rule allows it"
DENIED = "not authorized: a rule denies it"
BAD_NAME, BAD_FILTER = "topic name invalid", "topic filter invalid"
WRONG_PASSWORD = "bad user name or password"
NO_PROOF = "no credentials"
NO_KEY = "no key for this token"
WRONG_TOKEN = {NO_KEY, "token algorithm not allowed", "token signature wrong", "token subject wrong"}
NOT_ITSELF = {NOT_ITS_ID, WRONG_PASSWORD, *WRONG_TOKEN}
"""How a proof of one's own is refused for another's client id: by the id, or by what the id makes of the proof."""


class Street:
    """A hub with a device of each kind, each listening to all of its own at a door of MQTT over TLS."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        self.ledger = Ledger()
        self.folders = {kind: hub.add_device(f"lives-by-{kind}", kind) for kind in KINDS}
        self.owners = {kind: Thief(hub, folder, False, self.ledger) for kind, folder in self.folders.items()}
        self.names = {kind: owner.name for kind, owner in self.owners.items()}
        self.listeners: dict[str, Line] = {}
        self.said: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._numbers = count(1)
        for kind, owner in self.owners.items():
            self.listeners[kind] = line = owner.enters(f"{owner.name}/home", expiry=3600)
            line.send(Subscribe(1, (SubscriptionRequest(f"devices/{owner.name}/#", 1),)))
            assert line.receive(Suback).codes == (1,)
            self.say(kind, f"devices/{owner.name}/kept", retain=True)

    def thief(self, kind: str, door: str) -> Thief:
        """Give whoever has the folder of a kind, at a door."""
        return Thief(self.hub, self.folders[kind], door == "websocket", self.ledger)

    def victims(self, kind: str) -> list[str]:
        """Give the names of all other devices."""
        return [name for other, name in self.names.items() if other != kind]

    def say(self, kind: str, topic: str, retain: bool = False) -> None:
        """Have a device say something to itself."""
        text = f"private {next(self._numbers)}"
        self.said[kind].append(text)
        line = self.listeners[kind]
        line.send(Publish(TopicName(topic), text.encode(), 1, retain, packet_id=len(self.said[kind])))
        assert line.receive(Puback).code == 0

    def close(self) -> None:
        for line in self.listeners.values():
            line.cut()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with RunningHub(tmp_path_factory.mktemp("hub"), settings=SETTINGS) as hub:
        made = Street(hub)
        yield made
        made.close()


Attempt = Callable[[Thief, str], None]
"""Something that a thief tries on the victim of this name; it says itself how that must end."""

ATTEMPTS: dict[str, Attempt] = {}


def attempt(made: Attempt) -> Attempt:
    """Enter an attempt into the table, under its name in words."""
    ATTEMPTS[made.__name__.replace("_", " ")] = made
    return made


# To be somebody else


@attempt
def another_devices_client_id(thief: Thief, victim: str) -> None:
    for client_id in thief.some((victim, f"{victim}/", f"{victim}/x", f"{victim}/..", f"{victim}/{thief.name}")):
        thief.is_refused(NOT_ITSELF, client_id, expiry=3600)
    thief.is_refused(NOT_ITSELF, victim)


@attempt
def another_devices_client_id_in_mqtt_3(thief: Thief, victim: str) -> None:
    if not thief.has_certificate and not thief.has_password:
        return  # which of the reasons it is depends on both keys; the answer has no place for it
    if thief.facts.auth.value.startswith("scram"):
        return  # needs AUTH, which MQTT 3.1.1 does not have
    thief.is_refused({NOT_ITS_ID}, victim, version=V311)


@attempt
def a_client_id_that_only_looks_like_it(thief: Thief, victim: str) -> None:
    look_alikes = [
        victim.upper(), f" {victim}", f"{victim} ", f"./{victim}", f"/{victim}", f"x/../{victim}", f"{victim}\\x",
        victim.replace("e", "е"), victim.replace("i", "ⅰ"), f"{victim}\u200b", f"{victim}\u2044x", f"{victim}\u202e",
        victim[:-1], f"{victim}{victim}", f"{thief.name}{victim}", f"{thief.name}\u2215{victim}", "lab", "hub", "lab/x",
    ]  # fmt: skip
    for client_id in thief.some(look_alikes):
        thief.is_refused(NOT_ITSELF, client_id)
    for client_id in ("#", "+", "+/x", f"+/{victim}", "$share/g/x", "$SYS"):
        thief.is_refused(NOT_ITSELF, client_id)
    for client_id in (f"{thief.name}/#", f"{thief.name}/+", f"{thief.name}/\u202e{victim}", f"{thief.name}/\n"):
        thief.is_refused({BAD_ID, MALFORMED}, client_id)


@attempt
def a_client_id_with_nul(thief: Thief, victim: str) -> None:
    for client_id in (f"{victim}\0", f"{thief.name}\0{victim}"):
        packet = wire.encode(Connect(V5, client_id.replace("\0", "Q"), user_name=thief.name), V5)
        with thief.line() as line:
            line.send_bytes(packet.replace(client_id.replace("\0", "Q").encode(), client_id.encode()))
            assert line.next() is None  # nobody can be answered whose version cannot be read
            thief.ledger.enter(MALFORMED, {MALFORMED})


@attempt
def a_client_id_below_its_own_that_climbs_up(thief: Thief, victim: str) -> None:
    for client_id in (f"{thief.name}/../{victim}", f"{thief.name}/{victim}", f"{thief.name}//{victim}", ""):
        with thief.enters(client_id) as line:
            publish_is_refused(thief, line, f"devices/{victim}/cmd")
            publish_is_refused(thief, line, f"devices/{client_id}/cmd".replace(f"devices/{thief.name}/", "devices/x/"))


@attempt
def its_own_proof_under_another_user_name(thief: Thief, victim: str) -> None:
    thief.is_refused(NOT_ITSELF | {"no credentials"}, victim, user_name=victim)
    if thief.has_password:
        thief.is_refused({WRONG_PASSWORD}, user_name=victim)
        thief.is_refused({WRONG_PASSWORD}, user_name=f"{victim}/{thief.name}")
    else:  # the certificate, or the key of the client id, says who it is: the user name says nothing
        with thief.enters(user_name=victim) as line:
            publish_is_refused(thief, line, f"devices/{victim}/cmd")


@attempt
def nothing_at_all_to_show(thief: Thief, victim: str) -> None:
    bare = thief.bare()
    with bare.line() as line:
        line.send(Connect(V5, victim, user_name=victim))
        thief.ledger.enter(why_not(line.next()), {NO_PROOF})


@attempt
def a_password_of_its_own_for_everybody(thief: Thief, victim: str) -> None:
    guess = thief.password().encode() if thief.has_password else b"not-in-the-folder-1"
    bare = thief.bare()
    with bare.line() as line:
        line.send(Connect(V5, victim, user_name=victim, password=guess))
        thief.ledger.enter(why_not(line.next()), {WRONG_PASSWORD})
    try_scram(bare, victim, guess.decode())
    with bare.line() as line:  # RFC 5802 section 5.1: an authorization identity beside who proves it
        asked = Properties(
            authentication_method=METHOD, authentication_data=f"n,a={victim},n={thief.name},r=abc".encode()
        )
        line.send(Connect(V5, victim, properties=asked))
        answer = line.next()
        if isinstance(answer, Auth):
            line.send(Disconnect(4))
            assert line.next() is None
        else:
            thief.ledger.enter(why_not(answer), {"authentication data malformed"})


def try_scram(bare: Thief, victim: str, guess: str) -> None:
    peer = ScramPeer(victim, guess)
    with bare.line() as line:
        asked = Properties(authentication_method=METHOD, authentication_data=peer.first())
        line.send(Connect(V5, victim, properties=asked))
        final = peer.final(line.receive(Auth).properties.authentication_data)
        said = Properties(authentication_method=METHOD, authentication_data=final)
        line.send(Auth(ReasonCode.CONTINUE_AUTHENTICATION, said))
        bare.ledger.enter(why_not(line.next()), {WRONG_PASSWORD})


@attempt
def tokens_that_say_they_are_the_victims(thief: Thief, victim: str) -> None:
    key = (thief.folder / thief.facts.key_file).read_bytes() if thief.facts.key_file else new_key_pem()
    tokens = [unsigned(claims(victim))]
    if thief.facts.auth.value in ("x509", "jwt-es256") or not thief.facts.key_file:
        tokens.append(signed(key, claims(victim)))
    said_so = list(tokens)
    if len(tokens) == 2:
        tokens.append(signed(key, {**claims(thief.name), "client_id": victim, "iss": victim}))
    if thief.facts.auth.value.startswith("jwt"):
        tokens.append(thief.token().decode())
    bare = thief.bare()
    for token in tokens:
        for client_id in (victim, f"{victim}/x"):
            with bare.line() as line:
                line.send(Connect(V5, client_id, user_name=victim, password=token.encode()))
                thief.ledger.enter(why_not(line.next()), WRONG_TOKEN)
            with bare.line() as line:
                asked = Properties(authentication_method="jwt", authentication_data=token.encode())
                line.send(Connect(V5, client_id, properties=asked))
                thief.ledger.enter(why_not(line.next()), WRONG_TOKEN)
    for token in said_so:  # with an empty client id, the subject says whose keys are tried
        with bare.line() as line:
            line.send(Connect(V5, "", user_name=victim, password=token.encode()))
            thief.ledger.enter(why_not(line.next()), WRONG_TOKEN)


@attempt
def another_connect_after_its_own(thief: Thief, victim: str) -> None:
    with thief.enters() as line:
        line.send(Connect(V5, victim, user_name=victim, password=b"x"))
        thief.ledger.enter_protocol(why_not(line.next()), BROKEN)
        assert line.next() is None


@attempt
def packets_before_and_right_behind_a_connect_that_is_refused(thief: Thief, victim: str) -> None:
    publish = wire.encode(Publish(TopicName(f"devices/{victim}/cmd"), b"open", 1, packet_id=1), V5)
    with thief.line() as line:
        line.send_bytes(publish)
        assert line.next() is None
        thief.ledger.tried[BROKEN] += 1
    line, refused = thief.connect(victim, behind=publish)
    with line:
        if thief.facts.auth.value.startswith("scram"):  # in place of the AUTH that was asked for
            thief.ledger.enter_protocol(refused, BROKEN)
        else:
            thief.ledger.enter(refused, NOT_ITSELF)
        assert line.next() is None


@attempt
def a_proof_of_somebody_else_in_the_middle_of_a_session(thief: Thief, victim: str) -> None:
    if thief.facts.auth.value.startswith("jwt"):
        forged = signed(new_key_pem(), claims(victim))
        line, refused = thief.connect(method="jwt", data=thief.token(), secret=b"")
        assert refused == ""
        with line:
            said = Properties(authentication_method="jwt", authentication_data=forged.encode())
            line.send(Auth(ReasonCode.REAUTHENTICATE, said))
            thief.ledger.enter(why_not(line.next()), WRONG_TOKEN)
            assert line.next() is None
    elif thief.facts.auth.value.startswith("scram"):
        peer = ScramPeer(victim, thief.password())
        with thief.enters() as line:
            said = Properties(authentication_method=METHOD, authentication_data=peer.first())
            line.send(Auth(ReasonCode.REAUTHENTICATE, said))
            final = peer.final(line.receive(Auth).properties.authentication_data)
            said = Properties(authentication_method=METHOD, authentication_data=final)
            line.send(Auth(ReasonCode.CONTINUE_AUTHENTICATION, said))
            thief.ledger.enter(why_not(line.next()), {WRONG_PASSWORD})
            assert line.next() is None
    else:
        with thief.enters() as line:
            said = Properties(authentication_method="jwt", authentication_data=b"e30.e30.")
            line.send(Auth(ReasonCode.REAUTHENTICATE, said))
            thief.ledger.enter_protocol(why_not(line.next()), BROKEN)
            assert line.next() is None


# To move somebody else


def publish_is_refused(
    thief: Thief, line: Line, topic: str, qos: int = 1, retain: bool = False, reasons: set[str] | None = None,
    properties: Properties | None = None, payload: bytes = b"from a thief",
) -> None:  # fmt: skip
    line.send(Publish(TopicName(topic), payload, qos, retain, packet_id=77, properties=properties or Properties()))
    answer = line.next()
    assert isinstance(answer, Puback | Pubrec), f"{answer} for {topic}"
    assert answer.code == ReasonCode.NOT_AUTHORIZED
    thief.ledger.enter(answer.properties.reason_string or "", reasons or {NO_RULE})


def foreign_topics(victim: str) -> list[str]:
    return [
        f"devices/{victim}", f"devices/{victim}/", f"devices/{victim}/cmd", f"devices/{victim}/kept",
        f"devices//{victim}/cmd", f"/devices/{victim}/cmd", f"devices/{victim}/../{victim}/cmd",
        f"Devices/{victim}/cmd", "devices", "devices/", "devices/ /x",
        "x", f"groups/{victim}", f"$share/g/devices/{victim}/cmd",
    ]  # fmt: skip


@attempt
def publishing_on_its_topics(thief: Thief, victim: str) -> None:
    with thief.enters() as line:
        for topic in foreign_topics(victim):
            for qos in (1, 2):
                for retain in (False, True):
                    publish_is_refused(thief, line, topic, qos, retain)
        publish_is_refused(thief, line, f"devices/{victim}/kept", retain=True, payload=b"")  # clears it, were it taken
        for topic in ("$SYS/broker/version", f"$SYS/{victim}", "$SYS"):
            publish_is_refused(thief, line, topic, reasons={DENIED, NO_RULE})
        for _ in range(3):  # QoS 0 has no answer
            line.send(Publish(TopicName(f"devices/{victim}/cmd"), b"from a thief"))
            thief.ledger.enter(NO_RULE, {NO_RULE})
        assert line.is_alive()


@attempt
def publishing_below_its_own_tree_with_dots(thief: Thief, victim: str) -> None:
    with thief.enters() as line:  # these are its own topics, and lead nowhere else
        for number, rest in enumerate((f"../{victim}/cmd", f"../../devices/{victim}/cmd", f"%2e%2e/{victim}/cmd"), 1):
            line.send(Publish(TopicName(f"devices/{thief.name}/{rest}"), b"x", 1, packet_id=number))
            assert line.receive(Puback).code in (0, ReasonCode.NO_MATCHING_SUBSCRIBERS)


@attempt
def publishing_with_wildcards(thief: Thief, victim: str) -> None:
    for topic in ("devices/+/cmd", "devices/#", f"devices/{victim}/+", "#"):
        with thief.enters() as line:
            line.send(Publish(TopicName(topic), b"from a thief", 1, packet_id=1))
            thief.ledger.enter_protocol(why_not(line.next()), BAD_NAME)
            assert line.next() is None


@attempt
def publishing_in_mqtt_3(thief: Thief, victim: str) -> None:
    if thief.facts.auth.value.startswith("scram"):
        return  # needs AUTH, which MQTT 3.1.1 does not have
    for qos in (0, 1, 2):
        with thief.enters(version=V311) as line:
            line.send(Publish(TopicName(f"devices/{victim}/cmd"), b"from a thief", qos, packet_id=1))
            assert line.next() is None
            thief.ledger.enter(NO_RULE, {NO_RULE})


@attempt
def topic_aliases(thief: Thief, victim: str) -> None:
    topic, own = f"devices/{victim}/cmd", f"devices/{thief.name}/x"
    with thief.enters() as line:
        publish_is_refused(thief, line, topic, properties=Properties(topic_alias=1))
        for retain in (False, True):  # the alias stands for the topic now; the right to it does not come along
            publish_is_refused(thief, line, "", retain=retain, properties=Properties(topic_alias=1))
        line.send(Publish(TopicName(own), b"x", 1, packet_id=5, properties=Properties(topic_alias=2)))
        assert line.receive(Puback).code in (0, ReasonCode.NO_MATCHING_SUBSCRIBERS)
        publish_is_refused(thief, line, topic, properties=Properties(topic_alias=2))
        publish_is_refused(thief, line, "", properties=Properties(topic_alias=2))
        line.send(Publish(TopicName(""), b"x", 1, packet_id=6, properties=Properties(topic_alias=3)))
        thief.ledger.enter_protocol(why_not(line.next()), BROKEN)


@attempt
def a_response_topic_in_its_tree(thief: Thief, victim: str) -> None:
    asked = Properties(response_topic=f"devices/{victim}/cmd", correlation_data=b"1")
    with thief.enters(will=WillPacket(f"devices/{thief.name}/gone", b"x", properties=asked)) as line:
        line.send(Publish(TopicName(f"devices/{thief.name}/ask"), b"x", 1, packet_id=1, properties=asked))
        assert line.receive(Puback).code in (0, ReasonCode.NO_MATCHING_SUBSCRIBERS)
        publish_is_refused(thief, line, f"devices/{victim}/ask", properties=asked)


@attempt
def a_will_on_its_topics(thief: Thief, victim: str) -> None:
    for topic in thief.some(foreign_topics(victim)):
        thief.is_refused({NO_RULE}, will=WillPacket(topic, b"from a thief", 1, retain=True))
    delayed = Properties(will_delay_interval=1)
    thief.is_refused({NO_RULE}, will=WillPacket(f"devices/{victim}/cmd", b"x", properties=delayed), expiry=60)
    thief.is_refused({NO_RULE, DENIED}, will=WillPacket("$SYS/broker/version", b"x"))
    if not thief.facts.auth.value.startswith("scram"):
        thief.is_refused({NO_RULE}, version=V311, will=WillPacket(f"devices/{victim}/cmd", b"x"))


# To hear somebody else


def foreign_filters(victim: str) -> list[str]:
    wanted = [
        "#", "+/#", "+/+/+", "+/+/#", "+", "/#", "devices/#", "devices/+/#", "devices/+/cmd", "devices/+/+",
        "devices/+", f"devices/{victim}/#", f"devices/{victim}", f"devices/{victim}/cmd", f"devices/{victim}/+",
        f"+/{victim}/#",
        f"devices/{victim}/response", "$SYS/#", "$SYS/broker/#", f"/devices/{victim}/#", "groups/#",
    ]  # fmt: skip
    return wanted + [f"$share/g/{each}" for each in wanted]


def subscribe_is_refused(thief: Thief, line: Line, wanted: str, reasons: set[str] | None = None) -> None:
    line.send(Subscribe(9, (SubscriptionRequest(wanted, 1),)))
    answer = line.receive(Suback)
    assert answer.codes[0] >= 0x80, f"{wanted} was granted"
    thief.ledger.enter(answer.properties.reason_string or "", reasons or {NO_RULE})


@attempt
def subscribing_to_its_topics(thief: Thief, victim: str) -> None:
    with thief.enters() as line:
        for wanted in foreign_filters(victim):
            subscribe_is_refused(thief, line, wanted)
        for wanted in ("$share/+/devices/x", "$share//devices/x", "$share/g", f"devices/{victim}/#/x", "devices/a+/x"):
            subscribe_is_refused(thief, line, wanted, {BAD_FILTER})
        own = SubscriptionRequest(f"devices/{thief.name}/#", 1)
        over = SubscriptionRequest("devices/#", 1, retain_as_published=True)
        line.send(Subscribe(10, (own, over, SubscriptionRequest(f"$share/g/devices/{victim}/#"))))
        answer = line.receive(Suback)
        assert (answer.codes[0], answer.codes[1] >= 0x80, answer.codes[2] >= 0x80) == (1, True, True)
        thief.ledger.tried[NO_RULE] += 2
        line.send(Unsubscribe(11, (f"devices/{victim}/#", f"$share/g/devices/{victim}/#")))
        assert line.receive(Unsuback).codes == (ReasonCode.NO_SUBSCRIPTION_EXISTED,) * 2
        assert line.is_alive()
        assert all(message.topic.startswith(f"devices/{thief.name}/") for message in line.heard)


@attempt
def subscribing_in_mqtt_3(thief: Thief, victim: str) -> None:
    if thief.facts.auth.value.startswith("scram"):
        return  # needs AUTH, which MQTT 3.1.1 does not have
    with thief.enters(version=V311) as line:
        for wanted in foreign_filters(victim):
            line.send(Subscribe(9, (SubscriptionRequest(wanted, 1),)))
            assert line.receive(Suback).codes == (0x80,)
            thief.ledger.enter(NO_RULE, {NO_RULE})


THE_OTHERS_TOO = {
    "another devices client id", "tokens that say they are the victims", "publishing on its topics",
    "subscribing to its topics", "its own proof under another user name",
}  # fmt: skip
"""What is tried on every victim; for the rest two stand for all, one at each door."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_one_device_has_gives_nothing_of_another(street: Street, name: str, door: str, kind: str) -> None:
    thief = street.thief(kind, door)
    victims = street.victims(kind)
    first = (KINDS.index(kind) + len(door)) % len(victims)
    for victim in victims if name in THE_OTHERS_TOO else [victims[first]]:
        ATTEMPTS[name](thief, victim)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KINDS)
def test_who_tried_everything_hears_nothing(street: Street, kind: str, door: str) -> None:
    thief = street.thief(kind, door)
    with thief.enters(f"{thief.name}/ear") as line:
        for victim in street.victims(kind):
            for wanted in foreign_filters(victim):
                subscribe_is_refused(thief, line, wanted)
        for other, name in street.names.items():
            if other != kind:
                street.say(other, f"devices/{name}/state")
                street.say(other, f"devices/{name}/kept", retain=True)
        assert line.is_alive()
        assert line.heard == []


def heard_by(line: Line) -> list[Publish] | None:
    return line.heard if line.is_alive() and line.heard else None


def test_nobody_was_disturbed_and_nobody_lost_a_message(street: Street) -> None:
    for kind, line in street.listeners.items():
        name = street.names[kind]
        assert line.is_alive(), f"{name} lost its connection"
        assert b"from a thief" not in {message.payload for message in line.heard}
        assert {message.topic.split("/")[1] for message in line.heard} == {name}
        heard = [message.payload.decode() for message in line.heard if message.payload.startswith(b"private")]
        assert heard == street.said[kind]
    for kind, owner in street.owners.items():
        with owner.enters(f"{owner.name}/again") as again:
            again.send(Subscribe(1, (SubscriptionRequest(f"devices/{owner.name}/kept", 1),)))
            again.receive(Suback)
            (kept,) = eventually(partial(heard_by, again))
            assert kept.payload.decode() in street.said[kind]


def test_every_attempt_is_on_record_under_its_reference(street: Street) -> None:
    street.ledger.compare(street.hub)
