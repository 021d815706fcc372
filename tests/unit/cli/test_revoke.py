"""`lockgate revoke`: one subject, a report that counts, and the same as `device revoke` beneath."""

from __future__ import annotations

import pytest

from lockgate.cli import revoke as room
from lockgate.home import Home
from lockgate.model.message import Message
from lockgate.model.outcome import Traces
from lockgate.model.principal import Principal
from lockgate.model.session import SessionRecord
from lockgate.model.topic import TopicName
from lockgate.revocation import Report, Rights, Subject
from lockgate.store.messages_db import MessagesDb
from lockgate.store.traces import Stored, stored_traces
from tests.support.cli import CommandLine


def leave_something(lockgate: CommandLine, name: str = "sensor") -> Home:
    home = Home.open(lockgate.home)
    with home.registry(read_only=True) as db:
        device = db.device(name)
        assert device is not None
    store = MessagesDb(home.messages_path)
    store.save_session(SessionRecord(Principal(name, name, "x509", device.credentials[0].id), 600.0, 1.0))
    store.keep_retained(Message(TopicName("words"), b"x", 1, True, publisher=name))
    store.close()
    return home


def test_a_report_shows_what_was_found_ended_and_what_remains(lockgate: CommandLine) -> None:
    lockgate.adds("sensor", "x509")
    leave_something(lockgate)
    told = lockgate.does("revoke", "sensor", "--report", "--reason", "stolen").out
    assert "sensor is revoked" in told
    rows = {line.split("  ")[0]: line.split()[-4:] for line in told.splitlines() if line.strip()[-1:].isdigit()}
    assert rows["sessions"] == ["1", "1", "0", "0"]
    assert rows["retained messages it published"] == ["1", "1", "0", "0"]
    assert "credentials that still hold: 0" in told
    assert "nothing remains" in told
    assert "no hub runs" in told


def test_as_json_the_facts_are_whole(lockgate: CommandLine) -> None:
    lockgate.adds("sensor", "x509")
    leave_something(lockgate)
    (facts,) = lockgate.does("revoke", "sensor", "--retained", "keep", "--json").json()
    assert (facts["device"], facts["is_silent"], facts["keeps_retained"]) == ("sensor", True, True)
    assert (facts["found"]["sessions"], facts["ended"]["sessions"], facts["remaining"]["sessions"]) == (1, 1, 0)
    assert facts["stored"]["traces"]["retained"] == 1
    assert facts["rights"]["certificates"] == 0


@pytest.mark.parametrize("command", ["revoke", "device revoke", "device remove"])
def test_every_way_to_end_a_device_leaves_nothing_where_no_hub_runs(lockgate: CommandLine, command: str) -> None:
    lockgate.adds("sensor", "x509")
    home = leave_something(lockgate)
    lockgate.does(*command.split(), "sensor")
    assert stored_traces(home.messages_path, "sensor") == Stored()


def test_a_group_and_a_credential_are_named_as_such(lockgate: CommandLine) -> None:
    lockgate.adds("sensor", "x509", "--group", "floor")
    lockgate.adds("lamp", "x509")
    told = lockgate.does("revoke", "--group", "floor", "--report").out
    assert "the group floor is revoked: 1 devices" in told
    (known,) = [each for each in lockgate.does("device", "list", "--json").json() if each["name"] == "lamp"]
    number = str(known["credentials"][0]["id"])
    assert f"the credential {number}" in lockgate.does("revoke", "--credential", number).out
    assert "revoked" in lockgate.does("device", "list").out


def test_wrong_use_gets_one_sentence(lockgate: CommandLine) -> None:
    for words in ((), ("a", "--group", "g"), ("--credential", "0"), ("a", "--retained", "perhaps")):
        lockgate.misused("revoke", *words)
    lockgate.refuses("revoke", "nobody")


def test_what_is_left_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    left = Report("sensor", Traces(sessions=2), Traces(sessions=1), Stored(Traces(sessions=1), 3), Rights(), 12.0)
    room._print(Subject("sensor"), [left, Report("b", Traces(), Traces(), Stored(), Rights(), 30.0)])
    told = capsys.readouterr().out
    assert "something remains: sensor" in told
    assert "30 ms, the slowest 30 ms" in told
    assert "wait for others: 3" in told
    other = Report("sensor", Traces(), Traces(), Stored(Traces(sessions=1)), Rights(True, False, 1), 12.0)
    room._print(Subject("sensor"), [other])
    assert "belongs to other credentials" in capsys.readouterr().out
