"""The office's refusals, kept in registry.db."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lockgate.errors import Step
from lockgate.model.refusal import Refusal
from lockgate.store.office_refusals import read_refusals, save_refusals
from lockgate.store.registry_db import RegistryDb

FIRST = Refusal("AAAA-0001", 1.0, Step.CREDENTIAL, "wrong claim", "x", device="sensor")
SECOND = Refusal("AAAA-0002", 2.0, Step.TLS, "y", "z", evidence={"a": "b"})


@pytest.fixture
def db(tmp_path: Path) -> RegistryDb:
    return RegistryDb(tmp_path / "registry.db")


def test_refusals_are_found_newest_first_by_reference_and_by_device(db: RegistryDb) -> None:
    save_refusals(db, [FIRST, SECOND], 10)
    assert read_refusals(db.path) == [SECOND, FIRST]
    assert read_refusals(db.path, last=1) == [SECOND]
    assert read_refusals(db.path, reference="AAAA-0001") == [FIRST]
    assert read_refusals(db.path, device="sensor") == [FIRST]
    assert read_refusals(db.path, step="tls") == [SECOND]
    assert read_refusals(db.path, since=1.5) == [SECOND]


def test_a_run_of_like_ones_is_one_row(db: RegistryDb) -> None:
    save_refusals(db, [FIRST], 10)
    again = msgspec.structs.replace(FIRST, at=3.0, count=7)
    save_refusals(db, [again], 10)
    assert read_refusals(db.path) == [again]


def test_the_oldest_go_when_there_are_too_many(db: RegistryDb) -> None:
    save_refusals(db, [FIRST, SECOND], 1)
    assert read_refusals(db.path) == [SECOND]
