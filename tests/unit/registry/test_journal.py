"""The journal: everything noted once, in bounded memory, and written in batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from lockgate.errors import AuthenticationFailed, LockgateError, NotAuthorized, Step
from lockgate.events import Event
from lockgate.hub.hub import NOBODY_LEFT
from lockgate.hub.session import FULL_HUB, FULL_QUEUE
from lockgate.model.principal import Principal
from lockgate.model.refusal import Refusal
from lockgate.net.dtls_failures import unknown_identity
from lockgate.net.failures import TlsFailure, TlsReason
from lockgate.net.link import Address
from lockgate.net.tls import Protection
from lockgate.pki.authority import Authority
from lockgate.registry import journal as room
from lockgate.registry.journal import DROP_FIXES, Journal, Peer
from tests.support.fakes import FakeLink, FakeLoop
from tests.support.registry import EC_KEY, NOW, FakeRegistry, x509_key
from tests.support.websocket import Room

HOST = Address("192.0.2.7", 40_000)
PEER = Peer("mqtt", HOST, "sensor/1", Protection("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
SENSOR = Principal("sensor", "sensor/1", "x509", 1)
WRONG = AuthenticationFailed("the token expired", reason="token expired", fix="set the clock", evidence={"aud": "x"})


class Written:
    """A store that keeps what it was given."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self.seen: list[tuple[str, str, float, str]] = []
        self.audit: list[tuple[float, str, str, dict[str, str]]] = []
        self.writes = 0

    def save_refusals(self, refusals: Iterable[Refusal], /) -> int:
        self.refusals += refusals
        return self._wrote()

    def save_seen(self, seen: Iterable[tuple[str, Any, float, str]], /) -> int:
        self.seen += seen
        return self._wrote()

    def save_audit(self, events: Iterable[tuple[float, str, str, dict[str, str]]], /) -> int:
        self.audit += events
        return self._wrote()

    def _wrote(self) -> int:
        self.writes += 1
        return 0


@pytest.fixture
def journal() -> Journal:
    return Journal(100, lambda: NOW)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    capture = LogCapture()
    monkeypatch.setattr(room, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


def written(journal: Journal) -> Written:
    store = Written()
    journal.write(store)
    return store


def test_a_refusal_is_kept_with_who_what_and_how_to_mend_it(journal: Journal) -> None:
    reference = journal.refused(WRONG, PEER, "sensor", is_verified=False)
    (kept,) = written(journal).refusals
    assert kept.reference == reference
    assert (kept.reason, kept.message, kept.fix) == ("token expired", "the token expired", "set the clock")
    assert (kept.door, kept.address, kept.device, kept.client_id) == ("mqtt", "192.0.2.7", "sensor", "sensor/1")
    assert (kept.is_verified, kept.evidence, kept.at) == (False, {"aud": "x"}, NOW)


def test_what_was_written_is_not_written_again_and_nothing_writes_nothing(journal: Journal) -> None:
    journal.refused(WRONG, PEER, "sensor", is_verified=True)
    journal.connected(SENSOR, PEER)
    assert written(journal).writes == 3  # the refusal, when it was seen, the security event
    assert written(journal).writes == 0


def test_a_devices_last_error_is_seen_only_when_it_was_the_device(journal: Journal) -> None:
    journal.refused(WRONG, PEER, "sensor", is_verified=False)
    assert written(journal).seen == []
    reference = journal.refused(WRONG, PEER, "sensor", is_verified=True)
    assert written(journal).seen == [("sensor", "error", NOW, f"token expired ({reference})")]


def test_a_flood_writes_few_lines_and_counts_all(journal: Journal, logged: list[Any]) -> None:
    references = {journal.refused(WRONG, PEER, "sensor", is_verified=False) for _ in range(1000)}
    assert len(references) == 1
    assert [line["count"] for line in logged] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    (kept,) = written(journal).refusals
    assert kept.count == 1000


def test_a_peer_refused_by_tls_is_described_as_unverified(journal: Journal) -> None:
    authority = Authority.create_root(now=NOW).create_issuing(now=NOW)
    leaf = authority.issue_device("sensor", EC_KEY.public_key(), now=NOW)
    failure = TlsFailure(TlsReason.CERTIFICATE_EXPIRED, "expired", "renew it", leaf, "hub.example")
    journal.tls_refused("mqtt", HOST, failure)
    journal.tls_refused("mqtt", HOST, TlsFailure(TlsReason.NOT_TLS, "plaintext"))
    named, bare = written(journal).refusals
    assert (named.device, named.is_verified) == ("sensor", False)
    assert named.evidence["certificate (unverified)"].startswith("'sensor', issued by 'lockgate issuing CA")
    assert len(named.evidence["certificate SHA-256 (unverified)"]) == 64
    assert named.evidence["certificate valid (unverified)"].startswith("from 20")
    assert named.evidence["server name asked for"] == "hub.example"
    assert (bare.device, bare.reason) == ("", "not TLS")


def test_a_peer_refused_by_the_websocket_is_told_of_with_its_certificate(journal: Journal) -> None:
    link = FakeLink(FakeLoop(0.0), Room())
    error = LockgateError("no", reason="origin not allowed", evidence={"origin": "https://evil.example"})
    reference = journal.websocket_refused("mqtt", link, error)
    authority = Authority.create_root(now=NOW).create_issuing(now=NOW)
    link.peer = Address("192.0.2.8", 1)
    link.peer_certificate = authority.issue_device("sensor", EC_KEY.public_key(), now=NOW)
    journal.websocket_refused("mqtt", link, error)
    bare, named = written(journal).refusals
    assert bare.reference == reference
    assert (bare.device, bare.address, bare.evidence) == ("", "192.0.2.7", {"origin": "https://evil.example"})
    assert (named.device, named.address) == ("sensor", "192.0.2.8")
    assert named.evidence["certificate"].startswith("'sensor'")


def test_a_name_that_the_certificate_lacks_comes_with_the_command_that_adds_it(
    journal: Journal, logged: list[Any]
) -> None:
    journal.uncovered_name("hub; rm -rf /", PEER)
    (kept,) = written(journal).refusals
    assert kept.fix == "lockgate server-cert add-name 'hub; rm -rf /'"
    assert [line["event"] for line in logged] == [Event.CLIENT_NAME_UNKNOWN]


def test_a_will_that_may_not_go_out_is_kept_under_its_owner(journal: Journal, logged: list[Any]) -> None:
    journal.will_refused(NotAuthorized("sensor may not"), SENSOR)
    (kept,) = written(journal).refusals
    assert (kept.device, kept.client_id, kept.door, kept.is_verified) == ("sensor", "sensor/1", "hub", True)
    assert [line["event"] for line in logged] == [Event.WILL_REFUSED]


def test_a_connection_is_logged_and_seen_with_its_protection(journal: Journal, logged: list[Any]) -> None:
    journal.connected(SENSOR, PEER)
    journal.connected(Principal("lab", "lab/x", "lab"), Peer("mqtt", HOST))
    journal.disconnected(SENSOR, PEER, False, ConnectionResetError("cut"))
    journal.disconnected(SENSOR, PEER, True, None)
    assert [line["protection"] for line in logged[:2]] == ["TLSv1.3 TLS_AES_256_GCM_SHA384", "plaintext"]
    assert [(line["is_clean"], line["error"]) for line in logged[2:]] == [(False, "cut"), (True, "")]
    assert ("sensor", "connect", NOW, "sensor/1 by x509 over TLSv1.3 TLS_AES_256_GCM_SHA384") in written(journal).seen


def test_a_fresh_proof_is_logged_with_its_end(journal: Journal, logged: list[Any]) -> None:
    journal.reauthenticated(SENSOR.until(NOW + 60), PEER)
    assert [(line["event"], line["device"], line["until"]) for line in logged] == [
        ("client.reauthenticated", "sensor", NOW + 60)
    ]


def test_an_ended_session_is_a_security_event_and_the_list_of_them_is_bounded(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_WAITING_EVENTS", 2)
    references = [journal.ended(LockgateError("over", reason="revoked"), SENSOR, PEER) for _ in range(5)]
    store = written(journal)
    details = {"client_id": "sensor/1", "reason": "revoked", "reference": references[0]}
    assert store.audit == [(NOW, Event.SESSION_ENDED, "sensor", details)] * 2
    assert journal.lost_events == 3
    journal.ended(WRONG, SENSOR, PEER)
    assert len(written(journal).audit) == 1


def test_who_has_published_was_seen_with_a_message(journal: Journal) -> None:
    journal.spoke(["sensor"])
    assert written(journal).seen == [("sensor", "message", NOW, "")]
    assert written(journal).seen == []


def test_what_was_last_seen_is_bounded(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_WAITING_SEEN", 2)
    for number in range(5):
        journal.connected(Principal(f"d{number}", f"d{number}", "x509"), PEER)
    assert [device for device, *_ in written(journal).seen] == ["d0", "d1"]


def test_who_was_seen_is_written_in_slices_those_first_who_waited_longest(journal: Journal) -> None:
    everybody = [f"sensor{number}" for number in range(2 * room.SEEN_PER_TURN + 1)]
    journal.spoke(everybody)
    slices = [[row[0] for row in written(journal).seen]]
    journal.spoke(everybody[-1:])  # it waits already, and keeps its place
    slices += [[row[0] for row in written(journal).seen] for _ in range(3)]
    assert [len(each) for each in slices] == [room.SEEN_PER_TURN, room.SEEN_PER_TURN, 1, 0]
    assert [name for each in slices for name in each] == everybody


def test_the_last_write_leaves_nobody_out_who_was_seen(journal: Journal) -> None:
    journal.spoke(f"sensor{number}" for number in range(3 * room.SEEN_PER_TURN))
    store = Written()
    journal.write(store, is_last=True)
    assert len(store.seen) == 3 * room.SEEN_PER_TURN


def test_dropped_messages_are_logged_at_once_and_then_counted(journal: Journal, logged: list[Any]) -> None:
    for _ in range(3):
        journal.dropped("sensor/1", "a/b", "queue full")
    journal.dropped("other", "a/b", "queue full")
    assert [line.get("count") for line in logged] == [None, None]
    written(journal)
    assert [(line["client_id"], line["count"]) for line in logged[2:]] == [("sensor/1", 3)]
    written(journal)
    assert len(logged) == 3


def test_dropped_messages_are_refusals_that_nobody_is_told(journal: Journal) -> None:
    for _ in range(5):
        journal.dropped("sensor/1", "a/b", FULL_QUEUE)
    journal.dropped("sensor/1", "a/b", "no longer allowed to receive it")
    full, barred = written(journal).refusals
    assert (full.device, full.client_id, full.step, full.count) == ("sensor", "sensor/1", Step.LIMIT, 5)
    assert (full.reason, full.is_verified) == ("message dropped: its queue was full", True)
    assert "hub.max_queued_messages" in full.fix
    assert (barred.step, barred.count) == (Step.POLICY, 1)
    journal.dropped("sensor/1", "a/b", FULL_QUEUE)
    assert written(journal).refusals[0].count == 6


def test_each_word_of_the_hub_for_a_dropped_message_has_a_fix() -> None:
    assert {FULL_QUEUE, FULL_HUB, NOBODY_LEFT} <= set(DROP_FIXES)


def test_the_count_of_dropped_messages_is_bounded(
    journal: Journal, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_WAITING_EVENTS", 1)
    for _ in range(2):
        for client_id in ("one", "two"):
            journal.dropped(client_id, "a/b", "queue full")
    logged.clear()
    written(journal)
    assert [(line["client_id"], line["count"]) for line in logged] == [("one", 2)]


def test_the_same_refusal_again_is_only_counted_until_the_journal_is_written() -> None:
    journal, store = Journal(100), Written()
    denied = NotAuthorized("sensor may not publish 'a'")
    references = {journal.refused(denied, PEER, "sensor", True) for _ in range(1000)}
    assert len(references) == 1
    assert journal.refused_by_reason["not authorized"] == 1000
    journal.write(store)
    assert [(refusal.reference, refusal.count) for refusal in store.refusals] == [(*references, 1000)]
    journal.refused(denied, PEER, "sensor", True)
    journal.write(store)
    assert store.refusals[-1].count == 1001


def test_a_flood_of_the_same_refusal_writes_few_lines(logged: list[Any]) -> None:
    journal, store = Journal(100), Written()
    denied = NotAuthorized("sensor may not publish 'a'")
    for _ in range(20):
        for _ in range(100):
            journal.refused(denied, PEER, "sensor", True)
        journal.write(store)
    counts = [entry["count"] for entry in logged]
    assert counts[0] == 1
    assert counts[-1] > 1000
    assert len(counts) <= 12


def test_repeats_of_what_is_forgotten_are_counted_by_their_reason_alone() -> None:
    journal, store = Journal(max_refusals=1), Written()
    denied = NotAuthorized()
    for _ in range(2):
        journal.refused(denied, PEER, "sensor", True)
    journal.refused(WRONG, PEER, "other", False)
    journal.write(store)
    assert [refusal.reason for refusal in store.refusals] == ["token expired"]
    assert journal.refused_by_reason["not authorized"] == 2


def from_host(number: int) -> Peer:
    return Peer("mqtt", Address(f"192.0.2.{number}", 1), "c" * 999)


def test_of_refusals_each_reasons_first_second_fourth_are_security_events(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        journal.refused(LockgateError("no", reason="wrong"), from_host(number), "d", False)
    journal.refused(LockgateError("no", reason="other"), PEER, "sensor", True)
    events = written(journal).audit
    assert [(event, device, details["reason"], details["times"]) for _, event, device, details in events] == [
        (Event.CLIENT_REFUSED, "d", "wrong", "1"),
        (Event.CLIENT_REFUSED, "d", "wrong", "2"),
        (Event.CLIENT_REFUSED, "d", "wrong", "4"),
        (Event.CLIENT_REFUSED, "d", "wrong", "8"),
        (Event.CLIENT_REFUSED, "sensor", "other", "1"),
    ]
    details = events[0][3]
    assert (details["address"], len(details["client_id"]), details["is_verified"]) == ("192.0.2.0", 256, "no")
    monkeypatch.setattr(room, "MAX_WAITING_EVENTS", 0)
    journal.refused(LockgateError("no", reason="new"), PEER, "sensor", True)
    assert written(journal).audit == []


def test_a_refused_dtls_handshake_is_noted_with_what_the_registry_knows() -> None:
    registry = FakeRegistry()
    registry.add("office", x509_key(EC_KEY))
    journal = Journal(100, lambda: NOW, devices=registry)
    journal.dtls_refused("coap", HOST, unknown_identity(b"office"))
    journal.dtls_refused("coap", HOST, unknown_identity(b"nobody"))
    first, second = written(journal).refusals
    assert (first.door, first.device, first.is_verified, first.step) == ("coap", "office", False, Step.CREDENTIAL)
    assert "proves itself by x509" in first.message
    assert (second.device, journal.refused_by_reason["unknown PSK identity"]) == ("", 2)
