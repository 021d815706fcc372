"""What an operator changes reaches live sessions: no restart, no new connection, the right word to the client."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import msgspec
import pytest

from lockgate.store.messages_reader import load_sessions
from lockgate.store.sqlite import open_database
from tests.support.hub import RunningHub, eventually
from tests.support.paho_peer import PahoPeer

NOTICE_SECONDS = 2.0
NOT_AUTHORIZED, ADMINISTRATIVE_ACTION, MAXIMUM_CONNECT_TIME = 0x87, 0x98, 0xA0
DAY = 86_400


class Claims(msgspec.Struct):
    exp: float


def peer_of(hub: RunningHub, folder: Path, **options: object) -> PahoPeer:
    return PahoPeer(folder, hub.port, **options)  # type: ignore[arg-type]


def watcher_of(hub: RunningHub, name: str, topic_filter: str) -> PahoPeer:
    """Give a connected device that hears everything under `topic_filter`."""
    watcher = peer_of(hub, hub.add_device(name, "x509", "--receive", topic_filter))
    watcher.connect()
    watcher.subscribe(topic_filter, 2)
    return watcher


@pytest.mark.parametrize(
    ("verb", "reason", "later"),
    [
        ("block", "device blocked", "device blocked"),
        ("revoke", "credential revoked", "credential revoked"),
        ("remove", "device not registered", "no key for this token"),
    ],
)
def test_live_sessions_of_a_device_that_is_shut_out_end_with_the_reason(
    hub: RunningHub, verb: str, reason: str, later: str
) -> None:
    folder = hub.add_device(f"shut-by-{verb}", "jwt-es256")
    peers = [peer_of(hub, folder), peer_of(hub, folder, suffix="second"), peer_of(hub, folder, suffix="old", version=4)]
    for peer in peers:
        peer.gives_up = True
        assert peer.connect()[0] == 0
    hub.lockgate("device", verb, f"shut-by-{verb}")
    for peer in peers[:2]:
        code, text = peer.wait_for_end(NOTICE_SECONDS)
        assert (code, text.partition(" (")[0]) == (ADMINISTRATIVE_ACTION, reason)
    peers[2].wait_for_end(NOTICE_SECONDS)  # 3.1.1 has no word for it: the connection ends
    again = peer_of(hub, folder)
    again.gives_up = True
    code, text, _ = again.connect()
    assert code in (0x86, NOT_AUTHORIZED)
    assert text.startswith(later)
    hub.wait_for_refusal(later, device=f"shut-by-{verb}")
    known = {each["client_id"] for each in hub.why("--device", f"shut-by-{verb}") if each["reason"] == reason}
    assert known >= {f"shut-by-{verb}", f"shut-by-{verb}/second", f"shut-by-{verb}/old"}


@pytest.mark.parametrize("verb", ["block", "revoke", "remove"])
def test_the_will_of_a_device_that_is_shut_out_does_not_go_out(hub: RunningHub, verb: str) -> None:
    watcher = watcher_of(hub, f"heir-{verb}", f"wills/{verb}/#")
    topic = f"wills/{verb}/last"
    publisher = hub.add_device(f"other-{verb}", "jwt-es256", "--publish", topic)
    folder = hub.add_device(f"dying-{verb}", "x509", "--publish", topic)
    dying = peer_of(hub, folder, will=(topic, "my last words"))
    dying.gives_up = True
    dying.connect()
    hub.lockgate("device", verb, f"dying-{verb}")
    dying.wait_for_end(NOTICE_SECONDS)
    with peer_of(hub, publisher) as other:
        assert other.publish(topic, "a word from another") == 0
    watcher.wait_for(1)
    watcher.close()
    assert watcher.payloads() == [b"a word from another"]


def test_what_waits_for_a_blocked_device_waits_on_and_for_a_revoked_one_it_is_gone(hub: RunningHub) -> None:
    folders = {
        name: hub.add_device(name, "jwt-es256", "--receive", "queue/#") for name in ("blocked-one", "revoked-one")
    }
    source = peer_of(hub, hub.add_device("queue-source", "x509", "--publish", "queue/#"))
    source.connect()
    for folder in folders.values():
        with peer_of(hub, folder, expiry=DAY) as absent:
            absent.subscribe("queue/#", 1)
    source.publish("queue/x", "before")
    before = hub.home / "messages.db"
    assert before.exists()
    hub.lockgate("device", "block", "blocked-one")
    hub.lockgate("device", "revoke", "revoked-one")
    # Once `policy deny` speaks, what the two commands before it did has been applied too: changes keep their order.
    hub.lockgate("policy", "deny", "--device", "queue-source", "--publish", "queue/shut")
    eventually(lambda: source.publish("queue/shut", "x") == NOT_AUTHORIZED, NOTICE_SECONDS, "the new rule")
    source.publish("queue/x", "while shut out")
    source.close()
    stored = eventually(lambda: sessions_of(hub, before), 5.0, "the store")
    assert "blocked-one" in stored
    assert "revoked-one" not in stored
    hub.lockgate("device", "unblock", "blocked-one")
    back = peer_of(hub, folders["blocked-one"], expiry=DAY)
    assert eventually(lambda: is_let_in(back), NOTICE_SECONDS, "the unblocked device")
    assert back.answers[0][2], "its session is present"
    back.wait_for(1)
    back.close()
    assert back.payloads()[0] == b"before"


def sessions_of(hub: RunningHub, path: Path) -> set[str] | None:
    """Give the client ids in messages.db once the revoked device's is gone; it is read beside the hub."""
    connection = open_database(path, "messages", read_only=True, check="none")
    try:
        names = {each.stored.record.principal.client_id for each in load_sessions(connection, path)}
    finally:
        connection.close()
    return names if "revoked-one" not in names else None


def is_let_in(peer: PahoPeer) -> bool:
    return peer.connect()[0] == 0


def test_a_new_permission_and_a_new_denial_reach_a_live_session(hub: RunningHub) -> None:
    watcher = watcher_of(hub, "rule-watcher", "rules/#")
    with peer_of(hub, hub.add_device("ruled", "jwt-rs256")) as ruled:
        assert ruled.publish("rules/x", "too early") == NOT_AUTHORIZED
        assert ruled.subscribe("rules/back", 1) == NOT_AUTHORIZED
        hub.lockgate("policy", "allow", "--device", "ruled", "--publish", "rules/#", "--receive", "rules/back")
        eventually(lambda: ruled.publish("rules/x", "allowed") == 0, NOTICE_SECONDS, "the permission")
        assert ruled.subscribe("rules/back", 1) == 1
        ruled.publish("rules/back", "to myself")
        ruled.wait_for(1)
        watcher.wait_for(2)
        hub.lockgate("policy", "deny", "--device", "ruled", "--publish", "rules/x", "--receive", "rules/back")
        eventually(lambda: ruled.publish("rules/x", "late") == NOT_AUTHORIZED, NOTICE_SECONDS, "the denial")
        hub.lockgate("policy", "deny", "--device", "rule-watcher", "--receive", "rules/secret")
        eventually(lambda: is_silenced(ruled, watcher), NOTICE_SECONDS, "the silence")
        heard = ruled.payloads()
        ruled.publish("rules/back", "unheard")
        ruled.publish("devices/ruled/ping", "x")
        assert ruled.subscribe("devices/ruled/#", 1) == 1
        ruled.publish("devices/ruled/ping", "pong")
        ruled.wait_for(len(heard) + 1)
        assert ruled.payloads() == [*heard, b"pong"], "a denied topic is silent inside a subscription that stands"
        assert not ruled.ends
    watcher.close()
    assert {each.payload for each in watcher.heard if each.topic == "rules/x"} == {b"allowed"}


def is_silenced(publisher: PahoPeer, watcher: PahoPeer) -> bool:
    """Say whether `watcher` no longer hears rules/secret; rules/open is the proof that it is past it."""
    count = len(watcher.heard)
    publisher.publish("rules/secret", "s")
    publisher.publish("rules/open", "o")
    eventually(lambda: any(each.payload == b"o" for each in watcher.heard[count:]), 5.0, "rules/open")
    return not any(each.payload == b"s" for each in watcher.heard[count:])


def test_joining_and_leaving_a_group_reaches_a_live_session(hub: RunningHub) -> None:
    hub.lockgate("policy", "allow", "--group", "cooks", "--publish", "kitchen/#")
    with peer_of(hub, hub.add_device("apprentice", "jwt-es256")) as apprentice:
        assert apprentice.publish("kitchen/oven", "hot") == NOT_AUTHORIZED
        hub.lockgate("policy", "join", "cooks", "apprentice")
        eventually(lambda: apprentice.publish("kitchen/oven", "hot") != NOT_AUTHORIZED, NOTICE_SECONDS, "the group")
        hub.lockgate("policy", "leave", "cooks", "apprentice")
        eventually(lambda: apprentice.publish("kitchen/oven", "hot") == NOT_AUTHORIZED, NOTICE_SECONDS, "the leaving")
        assert not apprentice.ends, "the session never ended"


@pytest.mark.requirement("Q17")
def test_a_session_ends_when_its_token_does(tmp_path: Path) -> None:
    with RunningHub(tmp_path, settings="[identity]\njwt_clock_skew_seconds = 0\n") as hub:
        folder = hub.add_device("meter", "jwt-es256")
        token = hub.token(folder, "3s")
        body = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=Claims)
        peer = peer_of(hub, folder, secret=("meter", token))
        peer.gives_up = True
        assert peer.connect()[0] == 0
        code, text = peer.wait_for_end(3.0 + NOTICE_SECONDS)
        assert (code, text.partition(" (")[0]) == (MAXIMUM_CONNECT_TIME, "token expired")
        late = time.time() - claims.exp
        assert 0 <= late < NOTICE_SECONDS
