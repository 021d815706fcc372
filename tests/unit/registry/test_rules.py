"""What may be said about permissions: rules and roles that cannot be are refused, with what would mend them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.errors import InvalidSettings, LockgateError, NotFound
from lockgate.model.device import Device
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.registry.rules import RoleBook, check_rule, check_subject
from lockgate.store.registry_db import RegistryDb
from lockgate.store.rules import Held, PolicyChange, held_roles, roles

PUBLISH, RECEIVE = Operation.PUBLISH, Operation.RECEIVE


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        db.add_device(Device("a"), actor="anna", now=1.0)
        yield db


@pytest.fixture
def book(db: RegistryDb) -> RoleBook:
    return RoleBook(db, "anna", lambda: 7.0)


def test_roles_are_made_granted_revoked_and_removed(book: RoleBook, db: RegistryDb) -> None:
    book.add_role("reader")
    assert book.grant("reader", "device:a")
    assert book.grant("reader", "group:g")
    assert not book.grant("reader", "group:g")
    assert held_roles(db) == [Held("reader", "device:a"), Held("reader", "group:g")]
    book.revoke("reader", "device:a")
    book.remove_role("reader")
    assert (roles(db), held_roles(db)) == ([], [])
    assert [(r.at, r.event) for r in db.audit()[1:]] == [
        (7.0, event)
        for event in ("role.added", "role.granted", "role.granted", "role.revoked", "role.revoked", "role.removed")
    ]


def test_a_whole_change_is_checked_before_anything_is_written(book: RoleBook, db: RegistryDb) -> None:
    good = Rule("role:r", PUBLISH, "x")
    before = db.audit()
    for change in (
        PolicyChange(add_roles=("r",), add_rules=(good, Rule("everyone", PUBLISH, "a#"))),
        PolicyChange(add_roles=("r", "+"), add_rules=(good,)),
        PolicyChange(add_roles=("r",), grant=(Held("r", "everyone"),)),
        PolicyChange(add_roles=("r",), grant=(Held("r", "device:none"),)),
    ):
        with pytest.raises(LockgateError) as caught:
            book.change(change)
        assert caught.value.fix
        assert db.audit() == before
    book.change(PolicyChange(add_roles=("r",), add_rules=(good,), grant=(Held("r", "device:a"),)))
    assert [rule.content for rule in db.rules()] == [good]


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "${device}", "$share", "\uff0b", "a\u200b", "\u0430", "x" * 64])
def test_a_role_whose_name_could_widen_a_filter_or_pass_for_another_is_refused(book: RoleBook, name: str) -> None:
    with pytest.raises(InvalidSettings):
        book.add_role(name)


@pytest.mark.parametrize("holder", ["everyone", "role:r", "device:", "device:+", "group:a/b", "a"])
def test_a_role_is_held_by_devices_and_groups_alone(book: RoleBook, holder: str) -> None:
    book.add_role("r")
    with pytest.raises(InvalidSettings):
        book.grant("r", holder)


def test_what_is_not_there_is_said_to_be_missing(book: RoleBook) -> None:
    for act in (
        lambda: book.remove_role("r"),
        lambda: book.grant("r", "device:a"),
        lambda: book.revoke("r", "group:g"),
    ):
        with pytest.raises(NotFound) as caught:
            act()
        assert caught.value.fix


@pytest.mark.parametrize(
    "rule",
    [
        Rule("everyone", PUBLISH, "x", qos=(1, 2), retain=False, max_payload_bytes=0, messages_per_second=0.1),
        Rule("role:r", RECEIVE, "${device}/${group}/${client_id}/#", qos=(2,), max_payload_bytes=268_435_455),
        Rule("group:g", PUBLISH, "x", Effect.DENY),
    ],
)
def test_rules_that_may_be(rule: Rule) -> None:
    check_rule(rule)


@pytest.mark.parametrize(
    "rule",
    [
        Rule("everyone", PUBLISH, "x", qos=()),
        Rule("everyone", PUBLISH, "x", qos=(3,)),
        Rule("everyone", PUBLISH, "x", qos=(1, 0)),
        Rule("everyone", PUBLISH, "x", qos=(1, 1)),
        Rule("everyone", PUBLISH, "x", max_payload_bytes=-1),
        Rule("everyone", PUBLISH, "x", max_payload_bytes=268_435_456),
        Rule("everyone", PUBLISH, "x", messages_per_second=0.0),
        Rule("everyone", PUBLISH, "x", messages_per_second=-1.0),
        Rule("everyone", PUBLISH, "x", messages_per_second=float("inf")),
        Rule("everyone", PUBLISH, "x", messages_per_second=float("nan")),
        Rule("everyone", RECEIVE, "x", messages_per_second=1.0),
        Rule("everyone", PUBLISH, "x", Effect.DENY, qos=(0,)),
        Rule("everyone", PUBLISH, "x", Effect.DENY, retain=False),
        Rule("everyone", PUBLISH, "x", Effect.DENY, max_payload_bytes=1),
    ],
)
def test_limits_that_cannot_be(rule: Rule) -> None:
    with pytest.raises(InvalidSettings):
        check_rule(rule)


@pytest.mark.parametrize("subject", ["", "everybody", "role:", "role:+", "device", "user:x", "group:a/b", "device:lab"])
def test_subjects_that_cannot_be(subject: str) -> None:
    with pytest.raises(InvalidSettings):
        check_subject(subject)
