"""The MQTT protocol as a state machine: bytes and time in, packets and bytes out. No socket, no clock.

Theory of operation. A connection begins AWAITING_CONNECT. The first packet must be CONNECT; the protocol then is
AWAITING_VERDICT and decodes nothing further until the driver says `accept` or `refuse`. Once CONNECTED it answers by
itself what needs no decision (PINGREQ, PUBACK, PUBREC, PUBREL, PUBCOMP) and gives the rest to the driver. Topic
aliases stay in here: the driver sees whole topics.

    AWAITING_CONNECT --CONNECT--> AWAITING_VERDICT --accept--> CONNECTED --DISCONNECT, error, time--> CLOSED
            |                      |  ^       |
            |             challenge|  |AUTH   |
            |                      v  |       |
            |                  AWAITING_AUTH  |
            |                        |        |
            +--any other, time, error+--------+--refuse, time---------------------------------------> CLOSED

Enhanced authentication (section 4.12) is a game of turns: each AUTH of the client is answered, by `challenge` or by the
end of it, before it may send the next. Once CONNECTED the client may begin another one, and all else goes on meanwhile.

Answers that promise storage (PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK) wait for their commit: `committed` lets
them go, in their order. When something is wrong, `failure` says what, and the goodbye (if the version has one) is
already in `data_to_send`.

Source: MQTT 5.0 sections 3 and 4, MQTT 3.1.1 sections 3 and 4.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final

import msgspec

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.aliases import IncomingAliases, OutgoingAliases, with_alias
from lockgate.adapters.mqtt.owner import Owner
from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    V311,
    Acknowledgement,
    Auth,
    Connack,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    ReasonCode,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from lockgate.adapters.mqtt.wire_session import REASON_CODES
from lockgate.hub import Session
from lockgate.settings import MqttSettings

KEEP_ALIVE_GRACE: Final = 1.5
UNLIMITED_BYTES: Final = 268_435_460
ACK_BYTES: Final = 4
ANSWERS = (Connack, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Disconnect, Auth)
REQUESTS = (Publish, Subscribe, Unsubscribe, Disconnect)

RETURN_CODES = {ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: 2, ReasonCode.SERVER_BUSY: 3}
"""What a 3.1.1 client is told (its section 3.2.2.3) when its CONNECT fails in here."""
UNKNOWN_ID = Properties(reason_string="no message is known under this packet identifier")


class State(IntEnum):
    """Where the connection is."""

    AWAITING_CONNECT = 0
    AWAITING_VERDICT = 1
    CONNECTED = 2
    CLOSED = 3
    AWAITING_AUTH = 4


class Exchange(IntEnum):
    """Whose turn it is in an enhanced authentication."""

    NONE = 0
    HUB = 1
    CLIENT = 2


HTTP_WORDS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"DELETE ", b"CONNECT ", b"PRI ")


def _no_mqtt() -> MqttError:
    return MqttError(
        ReasonCode.MALFORMED_PACKET,
        "an HTTP request came to the port of MQTT",
        reason="not MQTT",
        fix="give the client the port of MQTT over WebSocket (8884 by default), or the address of the page it wants",
    )


_NO_ANSWERS: Final[deque[tuple[int, Packet]]] = deque()
_NO_TAGS: Final[set[int]] = set()
_NO_BYTES: Final[bytearray] = bytearray()
"""What a connection has until it needs its own; nobody adds to these."""


class MqttProtocol:
    """One connection's protocol.

    Args:
        settings: the door's limits.
        now: monotonic seconds, as for every method here.
    """

    def __init__(self, settings: MqttSettings, now: float) -> None:
        self.state: State = State.AWAITING_CONNECT
        self.is_connected: bool = False
        """Whether `state` is CONNECTED; so many look."""
        self.version: int = 0
        self.failure: MqttError | None = None
        self.owner: Owner | None = None
        """Notes why the connection fails, and gives the words for the peer."""
        self.max_send_bytes: int = UNLIMITED_BYTES
        self.method: str | None = None
        """The authentication method of the CONNECT; None without enhanced authentication."""
        self.last_word: bytes = b""
        """What the method has to say to a client that is let in; it goes with the CONNACK."""
        self.partial_number: int = 0
        """Counts the packets that did not come whole at once."""
        self.pings: int = 0
        """How many PINGREQ were answered since the driver looked last."""
        self.out_bytes: int = 0
        """How much there is for `data_to_send`, about."""
        self._settings = settings
        self._receive_maximum: int = settings.receive_maximum
        self._session: Session | None = None
        self._gathered: bytearray = _NO_BYTES
        self._needed_bytes: int = 0
        self._max_packet_bytes: int = settings.max_connect_bytes
        self._max_users: int = settings.max_user_properties
        self._out: list[bytes] = []
        self._waiting: deque[tuple[int, Packet]] = _NO_ANSWERS
        self._committed: int = 0
        self._unanswered: set[int] = _NO_TAGS
        self._is_terse: bool = False
        self._aliases: IncomingAliases | None = None
        self._own_aliases: OutgoingAliases | None = None
        self._exchange: Exchange = Exchange.NONE
        self._started_at: float = now
        self._heard_at: float = now
        self._keep_alive_seconds: float = 0.0

    # What comes in

    def receive_data(self, data: bytes, now: float) -> list[Packet]:
        """Take bytes from the peer; give the packets that need a decision, in their order.

        Call it again with b"" after `accept`: what followed the CONNECT waits in the buffer.
        """
        if not data:
            self._heard_at = now  # the verdict took its time: the client's silence meanwhile does not count
        is_begun = len(self._gathered) > 0
        if is_begun:
            self._gathered += data
            if len(self._gathered) < self._needed_bytes:
                return []
            data = bytes(self._gathered)
            self._gathered = _NO_BYTES
        packets: list[Packet] = []
        position, size, most = 0, len(data), self._max_packet_bytes
        try:
            while self.is_connected or self._awaits_packet():
                start, end = wire.fixed_header(data, position, most)
                if end == 0 or end > size:
                    # Gather the rest, and look again when the packet is whole, not at every piece of it.
                    self._needed_bytes = end - position if end else 0
                    break
                self._heard_at = now  # whole packets count, not their bytes [MQTT-3.1.2-22]
                if data[position] >> 4 == wire.PUBLISH:
                    publish = wire.decode_publish(data, position, start, end, self.version, self._max_users)
                    position = end
                    if publish.properties is not NO_PROPERTIES:
                        publish = self._checked(publish)
                    if self._accept_publish(publish):
                        packets.append(publish)
                    continue
                packet = wire.decode_body(data, position, start, end, self.version, self._max_users)
                position = end
                if self._take_in(packet):
                    packets.append(packet)
                    if isinstance(packet, Disconnect):  # nothing follows it [MQTT-3.14.4-1]
                        break
        except MqttError as error:
            self.fail(_no_mqtt() if self.state is State.AWAITING_CONNECT and data.startswith(HTTP_WORDS) else error)
        if position < size and self.state is not State.CLOSED:
            self._gathered = bytearray(data[position:])
            if position or not is_begun:
                self.partial_number += 1
        return packets

    def _awaits_packet(self) -> bool:
        return self.state is State.AWAITING_CONNECT or self.state is State.AWAITING_AUTH

    def _enter(self, state: State) -> None:
        self.state = state
        self.is_connected = state is State.CONNECTED

    @property
    def partial_bytes(self) -> int:
        """Give how many bytes of a packet that has begun are here."""
        return len(self._gathered)

    def heard(self, now: float) -> None:
        """Learn that the client was not read until now: its silence does not count."""
        self._heard_at = now

    def receive_eof(self) -> None:
        """The peer sends nothing more: the connection is over."""
        self._enter(State.CLOSED)

    # The driver's decisions

    def accept(self, session: Session, is_present: bool, properties: Properties, keep_alive_seconds: int) -> None:
        """Answer the CONNECT with yes, and join its session."""
        self._enter(State.CONNECTED)
        self._exchange = Exchange.NONE
        self._session = session
        self._max_packet_bytes = self._settings.max_packet_bytes
        self._needed_bytes = 0
        self._keep_alive_seconds = keep_alive_seconds * KEEP_ALIVE_GRACE  # [MQTT-3.1.2-22]
        if self.method is not None:  # [MQTT-4.12.0-5]
            properties = msgspec.structs.replace(
                properties, authentication_method=self.method, authentication_data=self.last_word or None
            )
        self._write(Connack(0, is_present, properties))

    def refuse(self, code: int, properties: Properties = NO_PROPERTIES) -> None:
        """Answer the CONNECT with no; close the connection after `data_to_send`."""
        self._write(Connack(code, False, properties))
        self._enter(State.CLOSED)

    def challenge(self, data: bytes) -> None:
        """Go on with an enhanced authentication: it is the client's turn, and was not before."""
        if self.state is State.AWAITING_VERDICT:
            self._enter(State.AWAITING_AUTH)
            if self._gathered:
                self.fail(self._too_early())
                return
        self._exchange = Exchange.CLIENT
        self._send_auth(ReasonCode.CONTINUE_AUTHENTICATION, data)  # [MQTT-4.12.0-2], [MQTT-4.12.0-3]

    def reauthenticated(self, data: bytes) -> None:
        """End a re-authentication with success."""
        self._exchange = Exchange.NONE
        self._send_auth(ReasonCode.SUCCESS, data)

    def send(self, packet: Publish) -> bool:
        """Send a PUBLISH; say whether it fits what the client takes (Maximum Packet Size) [MQTT-3.1.2-24]."""
        if self._own_aliases is not None and self._send_with_alias(packet, self._own_aliases):
            return True
        return self.put(wire.encode(packet, self.version or V311))

    def put(self, data: bytes) -> bool:
        """Send a PUBLISH that is encoded already; say whether it fits, as `send`. Not where `has_aliases`."""
        size = len(data)
        if size > self.max_send_bytes:
            return False
        if self.is_connected or self.state is not State.CLOSED:  # nothing follows a goodbye [MQTT-3.14.4-1]
            self._out.append(data)
            self.out_bytes += size
        return True

    @property
    def has_aliases(self) -> bool:
        """Whether what is sent is to go through `send`, which may put an alias in the place of its topic."""
        return self._own_aliases is not None

    def resend(self, publish: Publish) -> bool:
        """Send again what was unsettled when the last connection was lost [MQTT-4.4.0-1]; False if it does not fit."""
        session = self._session
        if session is not None and publish.packet_id in session.released:
            self.answer(Pubrel(publish.packet_id), session.release(publish.packet_id))
            return True
        return self.send(publish)

    def answer(self, packet: Packet, commit: int) -> None:
        """Send an answer once `commit` (0: at once) is durable, and not before answers given earlier."""
        if commit > self._committed or self._waiting:
            if self._waiting is _NO_ANSWERS:
                self._waiting = deque()
            self._waiting.append((commit, packet))
        else:
            self._send_answer(packet)

    def acknowledge(self, publish: Publish, code: int, commit: int, properties: Properties = NO_PROPERTIES) -> None:
        """Answer a PUBLISH that the driver has brought to the hub, or refused; nothing at QoS 0."""
        tag = publish.packet_id
        if publish.qos == 1:
            is_ready = commit <= self._committed and not self._waiting and self.state is not State.CLOSED
            if is_ready and code == 0 and properties is NO_PROPERTIES and self.max_send_bytes >= ACK_BYTES:
                self._unanswered.discard(tag)
                self._out.append(wire.encode_ack(wire.PUBACK, tag, 0, NO_PROPERTIES, V311))  # the same in version 5
                return
            self.answer(Puback(tag, code, properties), commit)
        elif publish.qos == 2 and self._session is not None:
            if code < ReasonCode.UNSPECIFIED_ERROR:
                commit = max(commit, self._session.receive(tag))
            self.answer(Pubrec(tag, code, properties), commit)

    def committed(self, number: int, now: float) -> None:
        """Learn that commit `number` is durable: the answers that waited for it go out."""
        self._committed = number
        if self._waiting:
            self._heard_at = now  # while we made the client wait, its silence does not count
        while self._waiting and self._waiting[0][0] <= number:
            self._send_answer(self._waiting.popleft()[1])

    def disconnect(self, code: int, properties: Properties = NO_PROPERTIES) -> None:
        """Say goodbye (5.0 has a word for it) and be closed."""
        if self.state is State.CONNECTED and self.version == V5:
            self._write(Disconnect(code, properties))
        self._enter(State.CLOSED)

    def fail(self, error: MqttError) -> None:
        """Close because the peer broke the protocol: `failure` says how."""
        answer = PacketType.DISCONNECT if self.state is State.CONNECTED else PacketType.CONNACK
        if error.code not in REASON_CODES[answer]:  # such as 0x84 for a second CONNECT [MQTT-3.14.2-1], [MQTT-3.2.2-8]
            error = MqttError(ReasonCode.PROTOCOL_ERROR, str(error), reason=error.reason, fix=error.fix)
        self.failure = error
        text = str(error) if self.owner is None else self.owner.explained(error)
        if self.state is State.AWAITING_CONNECT and error.code is ReasonCode.UNSUPPORTED_PROTOCOL_VERSION:
            self.refuse(1)  # 3.1.1 section 3.1.2.2: a return code that every version understands
        elif (self.state is State.AWAITING_VERDICT or self.state is State.AWAITING_AUTH) and self.version == V5:
            self.refuse(error.code, Properties(reason_string=text))
        elif self.state is State.AWAITING_VERDICT and error.code in RETURN_CODES:
            self.refuse(RETURN_CODES[error.code])
        self.disconnect(error.code, Properties(reason_string=text))

    # What goes out, and time

    @property
    def waiting_answers(self) -> int:
        """Give how many answers wait for the disk; the driver stops reading when they are many."""
        return len(self._waiting)

    def data_to_send(self) -> bytes:
        """Give the bytes to write now."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        self._out = []
        self.out_bytes = 0
        return data

    def next_timer(self) -> float | None:
        """Give the monotonic second at which `handle_timer` wants to be called, None for never."""
        if self.state is State.AWAITING_CONNECT or self.state is State.AWAITING_AUTH:
            return self._started_at + self._settings.connect_deadline_seconds
        if self.state is State.AWAITING_VERDICT:
            return self._heard_at + self._settings.connect_deadline_seconds
        if self.state is State.CONNECTED and self._keep_alive_seconds:
            return self._heard_at + self._keep_alive_seconds
        return None

    def handle_timer(self, now: float) -> None:
        """Close the connection if its time is up."""
        at = self.next_timer()
        if at is None or now < at:
            return
        if self.state is State.AWAITING_CONNECT:
            seconds = self._settings.connect_deadline_seconds
            self.fail(
                MqttError(
                    ReasonCode.PROTOCOL_ERROR, f"no CONNECT came within {seconds:g} s", reason="no CONNECT in time",
                    fix="check that the client speaks MQTT; mqtt.connect_deadline_seconds is how long it may take",
                )
            )  # fmt: skip
        elif self.state is State.AWAITING_VERDICT:
            seconds = self._settings.connect_deadline_seconds
            self.fail(MqttError(ReasonCode.SERVER_BUSY, f"a CONNECT could not be decided over within {seconds:g} s"))
        elif self.state is State.AWAITING_AUTH:
            seconds = self._settings.connect_deadline_seconds
            self.fail(MqttError(ReasonCode.NOT_AUTHORIZED, f"the authentication did not end within {seconds:g} s"))
        else:
            limit = self._keep_alive_seconds
            self.fail(
                MqttError(ReasonCode.KEEP_ALIVE_TIMEOUT, f"nothing came for {limit:g} s (1.5 times the keep-alive)")
            )

    # Helpers

    def _take_in(self, packet: Packet) -> bool:
        """Handle a packet that is no PUBLISH; say whether the driver must decide over it."""
        session = self._session
        if session is None:
            if self.state is State.AWAITING_AUTH and isinstance(packet, Auth | Disconnect):
                if isinstance(packet, Auth):
                    self._take_turn(packet)
                    self._enter(State.AWAITING_VERDICT)
                return True
            if self.state is State.AWAITING_AUTH or not isinstance(packet, Connect):
                raise self._too_early()
            self._begin(packet)
            return True
        if isinstance(packet, Puback):
            session.settle(packet.packet_id)
        elif isinstance(packet, Pubrec):
            self._received(session, packet)
        elif isinstance(packet, Pubrel):
            self._released(session, packet)
        elif isinstance(packet, Pubcomp):
            session.settle(packet.packet_id)
        elif isinstance(packet, Pingreq):
            self.pings += 1
            self._write(Pingresp())  # [MQTT-3.12.4-1]
        elif isinstance(packet, REQUESTS):
            return True
        elif isinstance(packet, Auth):
            self._take_turn(packet)
            return True
        else:
            name = type(packet).__name__.upper()
            raise MqttError(ReasonCode.PROTOCOL_ERROR, f"a client does not send {name} here")  # [MQTT-3.1.0-2]
        return False

    def _begin(self, connect: Connect) -> None:
        self.version = connect.version
        self._enter(State.AWAITING_VERDICT)
        if connect.properties.maximum_packet_size is not None:
            self.max_send_bytes = connect.properties.maximum_packet_size
        maximum = min(connect.properties.topic_alias_maximum or 0, self._settings.topic_alias_maximum)
        if maximum:  # [MQTT-3.1.2-27]
            self._own_aliases = OutgoingAliases(maximum, self._settings.max_topic_alias_characters)
        self._is_terse = connect.properties.request_problem_information == 0
        self.method = connect.properties.authentication_method
        if connect.version != V5 and not connect.client_id and not connect.clean_start:  # [MQTT-3.1.3-8] of 3.1.1
            raise MqttError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "a session that is kept needs a client id")

    def _too_early(self) -> MqttError:
        """Say what a client that is not let in yet should have sent."""
        if self.state is State.AWAITING_AUTH:  # [MQTT-3.1.2-30]
            text = "only AUTH or DISCONNECT may come before the CONNACK that ends an authentication"
        else:  # [MQTT-3.1.0-1]
            text = "the first packet must be CONNECT"
        return MqttError(ReasonCode.PROTOCOL_ERROR, text)

    def _take_turn(self, auth: Auth) -> None:
        """Check that an AUTH is the client's to send; then it is the hub's turn."""
        if self.method is None:  # [MQTT-4.12.0-6], [MQTT-4.12.0-7]
            raise MqttError(ReasonCode.PROTOCOL_ERROR, "who connected without an authentication method sends no AUTH")
        if auth.properties.authentication_method != self.method:  # [MQTT-4.12.0-5], [MQTT-4.12.1-1]
            raise MqttError(ReasonCode.PROTOCOL_ERROR, "an AUTH must name the authentication method of the CONNECT")
        if self._exchange is Exchange.HUB:
            raise MqttError(ReasonCode.PROTOCOL_ERROR, "an AUTH came before the one before it was answered")
        is_begun = self._exchange is Exchange.CLIENT
        expected = ReasonCode.CONTINUE_AUTHENTICATION if is_begun else ReasonCode.REAUTHENTICATE
        if auth.code != expected:  # [MQTT-3.15.2-1], [MQTT-4.12.0-4], [MQTT-4.12.1-1]
            text = f"an AUTH of the client has the reason code 0x{expected:02X} here, not 0x{auth.code:02X}"
            raise MqttError(ReasonCode.PROTOCOL_ERROR, text)
        self._exchange = Exchange.HUB

    def _send_auth(self, code: ReasonCode, data: bytes) -> None:
        self._write(Auth(code, Properties(authentication_method=self.method, authentication_data=data or None)))

    def _accept_publish(self, publish: Publish) -> bool:
        """Say whether a PUBLISH is to be brought to the hub: not when it repeats a QoS 2 message [MQTT-4.3.3-10]."""
        session = self._session
        if session is None:
            raise self._too_early()
        if publish.qos == 0:
            return True
        tag, unanswered = publish.packet_id, self._unanswered
        if publish.qos == 2:
            if tag in unanswered:
                return False  # its PUBREC is on the way
            if tag in session.incoming:
                self.answer(Pubrec(tag), session.receive(tag))  # its first note may still be on its way to the disk
                return False
        limit = self._receive_maximum
        if (
            len(unanswered) + len(session.incoming) >= limit <= len(unanswered | session.incoming)
            and self.version == V5
        ):
            raise MqttError(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, f"more than {limit} messages in flight")  # 3.3.4
        if unanswered is _NO_TAGS:
            unanswered = self._unanswered = set()
        unanswered.add(tag)
        return True

    def _checked(self, publish: Publish) -> Publish:
        """Check the properties of a PUBLISH; give it with its whole topic."""
        if publish.properties.subscription_identifiers:  # [MQTT-3.3.4-6]
            raise MqttError(ReasonCode.PROTOCOL_ERROR, "a client's PUBLISH carries no subscription identifier")
        if publish.properties.topic_alias is None:
            return publish
        if self._aliases is None:
            settings = self._settings
            self._aliases = IncomingAliases(settings.topic_alias_maximum, settings.max_topic_alias_characters)
        return self._aliases.resolve(publish)

    def _send_with_alias(self, publish: Publish, aliases: OutgoingAliases) -> bool:
        """Send a PUBLISH with an alias, if there is one for its topic and it fits; say whether it went."""
        topic = publish.topic
        alias = aliases.find(topic)
        is_new = alias == 0
        if is_new:
            alias = aliases.offer(topic)
            if alias == 0:
                return False
        data = wire.encode_publish(
            topic if is_new else "",
            publish.payload,
            publish.qos,
            publish.retain,
            publish.dup,
            publish.packet_id,
            with_alias(publish.properties, alias),
            V5,
        )
        if not self.put(data):
            return False
        if is_new:
            aliases.keep(topic, alias)  # only what was sent is known to the client
        return True

    def _received(self, session: Session, packet: Pubrec) -> None:
        if packet.code >= ReasonCode.UNSPECIFIED_ERROR:  # the receiver refused it: that settles it
            session.settle(packet.packet_id)
            return
        commit = session.release(packet.packet_id)
        is_unknown = commit < 0 and self.version == V5
        code = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND if is_unknown else ReasonCode.SUCCESS
        self.answer(Pubrel(packet.packet_id, code, UNKNOWN_ID if is_unknown else NO_PROPERTIES), commit)

    def _released(self, session: Session, packet: Pubrel) -> None:
        known = packet.packet_id in session.incoming
        commit = session.receive_release(packet.packet_id)
        if known or self.version != V5:
            self.answer(Pubcomp(packet.packet_id), commit)
        else:
            code = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
            self.answer(Pubcomp(packet.packet_id, code, UNKNOWN_ID), commit)

    def _send_answer(self, packet: Packet) -> None:
        if isinstance(packet, Puback | Pubrec):
            self._unanswered.discard(packet.packet_id)
        self._write(packet)

    def _write(self, packet: Packet) -> None:
        if self.state is State.CLOSED:  # nothing follows a goodbye [MQTT-3.14.4-1]
            return
        if self._is_terse and not isinstance(packet, Connack | Disconnect):  # [MQTT-3.1.2-29]
            packet = _without_reason(packet)
        data = wire.encode(packet, self.version or V311)
        if len(data) > self.max_send_bytes:  # a reason string is the first to go [MQTT-3.4.2-2]
            data = wire.encode(_without_reason(packet), self.version or V311)
            if len(data) > self.max_send_bytes:  # what still does not fit counts as sent [MQTT-3.1.2-25]
                if isinstance(packet, Auth) or (isinstance(packet, Connack) and not packet.code):
                    self._cannot_go_on(packet, len(data))
                return
        self._out.append(data)

    def _cannot_go_on(self, packet: Connack | Auth, size: int) -> None:
        """Refuse a client that takes no packet large enough to hold what it must be told."""
        if isinstance(packet, Connack):
            self._enter(State.AWAITING_VERDICT)
        name = type(packet).__name__.upper()
        text = f"{name} of {size} bytes is above the client's Maximum Packet Size of {self.max_send_bytes}"
        self.fail(MqttError(ReasonCode.PACKET_TOO_LARGE, text))


def _without_reason(packet: Packet) -> Packet:
    if not isinstance(packet, ANSWERS) or packet.properties.reason_string is None:
        return packet
    if isinstance(packet, Acknowledgement):
        return packet.without_reason()
    return msgspec.structs.replace(packet, properties=msgspec.structs.replace(packet.properties, reason_string=None))
