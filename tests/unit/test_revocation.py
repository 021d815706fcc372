"""Revocation from the outside: what no hub does any more is done at once, and what a hub does is waited for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate import revocation
from lockgate.errors import NotFound, Unavailable
from lockgate.events import Event
from lockgate.home import Home
from lockgate.model.message import Message
from lockgate.model.outcome import Outcome, Traces
from lockgate.model.principal import Principal
from lockgate.model.session import SessionRecord, Subscription
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.registry.registrar import Registrar
from lockgate.revocation import Report, Rights, Subject, revoke
from lockgate.store.messages_db import MessagesDb
from lockgate.store.messages_reader import read_retained
from lockgate.store.registry_db import ChangeKind
from lockgate.store.traces import Stored, read_kept_publishers, read_outcomes, stored_traces
from tests.support.registry import NOW, OTHER_EC_KEY, es256

LEFT = Traces(sessions=1, subscriptions=1, queued=1, retained=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with two devices in a group, each of which has left a session and a retained message."""
    home = Home.create(tmp_path / "home", ["hub.example"], NOW, "anna", 0)
    store = MessagesDb(home.messages_path)
    with home.registry() as db:
        registrar = Registrar(db, "anna")
        for name, key in (("sensor", es256()), ("lamp", es256(OTHER_EC_KEY))):
            device = registrar.add_device(name, [key], ["floor"])
            leave_something(store, name, device.credentials[0].id)
    store.close()
    return home


def leave_something(store: MessagesDb, name: str, credential: int) -> None:
    store.save_session(SessionRecord(Principal(name, name, "jwt-es256", credential), 600.0, NOW))
    store.save_subscription(name, Subscription(TopicFilter("a")))
    store.enqueue(name, 1, Message(TopicName("a"), b"x", 1), 1, False, ())
    store.keep_retained(Message(TopicName(f"words/{name}"), b"x", 1, True, publisher=name))


@pytest.fixture
def running(home: Home) -> Iterator[MessagesDb]:
    """The store of a hub that runs, as far as others can see: it holds the home's lock."""
    descriptor = home.lock()
    store = MessagesDb(home.messages_path)
    yield store
    store.close()
    os.close(descriptor)


def test_without_a_hub_nothing_of_the_device_stays_in_the_databases(home: Home) -> None:
    (report,) = revoke(home, Subject("sensor"), "anna")
    assert (report.found, report.ended, report.remaining) == (LEFT, LEFT, Traces())
    assert report.is_silent
    assert report.silence_ms is None
    assert (report.rights.is_registered, report.rights.credentials, report.rights.certificates) == (True, 0, 0)
    assert stored_traces(home.messages_path, "sensor").traces == Traces()
    assert stored_traces(home.messages_path, "lamp").traces == LEFT
    assert read_outcomes(home.messages_path, 0)[0].found == LEFT


def test_the_members_of_a_group_are_reported_one_by_one(home: Home) -> None:
    done: list[int] = []
    reports = revoke(home, Subject(group="floor"), "anna", on_device=done.append)
    assert [(each.device, each.found, each.is_silent) for each in reports] == [
        ("lamp", LEFT, True),
        ("sensor", LEFT, True),
    ]
    assert done == [2]


def test_one_credential_takes_its_own_sessions_along_and_leaves_the_device(home: Home) -> None:
    with home.registry() as db:
        first = db.device("sensor").credentials[0].id  # type: ignore[union-attr]
        Registrar(db, "anna").revoke_credential(db.device("lamp").credentials[0].id)  # type: ignore[union-attr]
        second = Registrar(db, "anna").rotate("sensor", es256(ec.generate_private_key(ec.SECP256R1())), 3600.0)[0].id
    store = MessagesDb(home.messages_path)
    store.save_session(SessionRecord(Principal("sensor", "sensor/2", "jwt-es256", second), 600.0, NOW))
    store.close()
    (report,) = revoke(home, Subject(credential=first), "anna")
    assert report.ended == Traces(sessions=1, subscriptions=1, queued=1)
    assert not report.is_silent
    assert report.is_other_credential
    assert report.stored.traces == Traces(sessions=1, retained=1)
    assert report.rights.credentials == 1


@pytest.mark.parametrize("setting", ["clear", "keep"])
@pytest.mark.parametrize("choice", ["clear", "keep", None])
def test_a_choice_for_retained_messages_is_stronger_than_the_setting(
    home: Home, setting: str, choice: revocation.Retained | None
) -> None:
    with home.settings_path.open("a") as file:
        file.write(f'\n[hub]\nretained_of_revoked = "{setting}"\n')
    (report,) = revoke(home, Subject("sensor"), "anna", retained=choice)
    is_kept = (choice or setting) == "keep"
    assert ("words/sensor" in {str(each.topic) for each in read_retained(home.messages_path)}) is is_kept
    assert report.found.retained == int(not is_kept)
    assert report.keeps_retained is (choice == "keep")
    assert report.is_silent is (not is_kept or choice == "keep")
    assert (read_kept_publishers(home.messages_path) == {"sensor"}) is (choice == "keep")
    revoke(home, Subject("lamp"), "anna", retained="clear")
    assert ("words/sensor" in {str(each.topic) for each in read_retained(home.messages_path)}) is is_kept


def test_the_choice_is_told_before_the_act_and_the_reason_is_in_the_trail(home: Home) -> None:
    revoke(home, Subject("sensor"), "anna", reason="stolen", retained="keep")
    with home.registry(read_only=True) as db:
        kinds = [change.kind for change in db.changes_since(0) if change.name == "sensor"]
        told = [(each.actor, each.subject, each.details) for each in db.audit() if each.event == Event.REVOCATION_BEGUN]
    assert kinds[-2:] == [ChangeKind.KEEP_RETAINED, ChangeKind.DEVICE]
    assert told == [("anna", "sensor", {"reason": "stolen", "retained": "keep"})]


@pytest.mark.parametrize("subject", [Subject("nobody"), Subject(credential=99), Subject(group="nobody")])
def test_who_does_not_exist_is_not_revoked(home: Home, subject: Subject) -> None:
    with pytest.raises(NotFound):
        revoke(home, subject, "anna")


def test_a_running_hub_is_waited_for_and_believed_only_about_itself(home: Home, running: MessagesDb) -> None:
    with home.registry(read_only=True) as db:
        before = db.last_sequence
    running.save_outcomes([Outcome(before + 1, "sensor", 1.0, "", LEFT)])  # of another life of the registry
    running.flush()

    def answer() -> None:
        with home.registry(read_only=True) as db:
            while not db.changes_since(before):
                time.sleep(0.001)
        running.save_outcomes([Outcome(before + 1, "sensor", time.time(), "credential revoked", LEFT, Traces())])

    gate = threading.Thread(target=answer)
    gate.start()
    (report,) = revoke(home, Subject("sensor"), "anna")
    gate.join()
    assert report.ended == LEFT
    assert report.silence_ms is not None
    assert report.silence_ms > 0
    assert report.stored.traces == LEFT, "this hub has only said that it did something"
    assert not report.is_silent


def test_a_hub_that_starts_meanwhile_answers_for_all(home: Home, running: MessagesDb) -> None:
    running.save_outcomes([Outcome(10_000, "", time.time() + 60, "", LEFT)])
    running.flush()
    reports = revoke(home, Subject(group="floor"), "anna")
    assert [each.device for each in reports] == ["lamp", "sensor"]


def test_a_hub_that_does_not_answer_is_named(home: Home, running: MessagesDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "ANSWER_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="it is revoked, but"):
        revoke(home, Subject("sensor"), "anna")
    (report,) = revoke(home, Subject("sensor"), "anna", waits=False)
    assert report.silence_ms is None


def test_where_no_hub_ever_ran_there_is_nothing_to_drop(home: Home) -> None:
    home.messages_path.unlink()
    (report,) = revoke(home, Subject("sensor"), "anna")
    assert report.is_silent


def test_a_target_says_whom_it_means() -> None:
    assert [str(each) for each in (Subject("a"), Subject(credential=7), Subject(group="g"))] == [
        "a",
        "the credential 7",
        "the group g",
    ]


def test_what_is_kept_by_choice_is_no_leftover() -> None:
    kept = Report("a", LEFT, Traces(retained=1), Stored(Traces(retained=1)), Rights())
    assert not kept.is_silent
    assert Report("a", LEFT, kept.remaining, kept.stored, kept.rights, keeps_retained=True).is_silent
