"""The keeper of TLS contexts: renews all doors together or none, by order or by age."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lockgate.errors import LockgateError
from lockgate.net.context import TlsContext, TlsContexts
from lockgate.net.keeper import ContextKeeper
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import generate_key, private_key_to_pem
from lockgate.pki.revocation import Known, RevokedCertificate, build_crl, crls_to_pem, make_staple

NOW = time.time()
ROOT = Authority.create_root(now=NOW)
ISSUING = ROOT.create_issuing(now=NOW)
MAX_AGE = 3600.0


class Doors:
    """Two doors' contexts over the files in `folder`, and what their keeper says."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.paths = folder / "server.crt", folder / "server.key", folder / "bundle.crt"
        self.crl_path, self.staple_path = folder / "crl.pem", folder / "server.ocsp"
        self.serial = self.issue()
        self.paths[2].write_bytes(ISSUING.certificate_pem())
        self.contexts = [
            TlsContexts(*self.paths, crl_path=self.crl_path, staple_path=self.staple_path, clock=lambda: self.now)
            for _ in range(2)
        ]
        self.renewed: list[str] = []
        self.problems: list[str] = []
        self._said = asyncio.Event()

    def issue(self) -> int:
        key = generate_key("ec")
        leaf = ISSUING.issue_server(["localhost"], key.public_key(), now=NOW)
        self.paths[0].write_bytes(ISSUING.chain_pem(leaf))
        self.paths[1].write_bytes(private_key_to_pem(key))
        return leaf.serial_number

    def keeper(self) -> ContextKeeper:
        return ContextKeeper(self.contexts, MAX_AGE, self._note_renewed, self._note, lambda: self.now)

    def serials(self) -> set[int]:
        return {each.current.certificate.serial_number for each in self.contexts}

    async def settle(self, keeper: ContextKeeper) -> None:
        """Run the keeper until it has said something more."""
        self._said.clear()
        task = asyncio.create_task(keeper.run())
        await asyncio.wait_for(self._said.wait(), 10)
        task.cancel()

    def _note(self, error: LockgateError) -> None:
        self.problems.append(str(error))
        self._said.set()

    def _note_renewed(self, why: str) -> None:
        self.renewed.append(why)
        self._said.set()


@pytest.fixture
def doors(tmp_path: Path) -> Doors:
    return Doors(tmp_path)


def test_all_doors_get_what_the_files_hold_now(doors: Doors) -> None:
    async def scene() -> None:
        keeper = doors.keeper()
        keeper.renew("first")
        keeper.renew("server.crt")
        await doors.settle(keeper)

    old = doors.serials()
    new = doors.issue()
    asyncio.run(scene())
    assert (old, doors.serials()) == ({doors.serial}, {new})
    assert doors.renewed == ["server.crt"]


def test_a_broken_file_leaves_every_door_as_it_was_and_the_keeper_goes_on(doors: Doors) -> None:
    async def scene() -> None:
        keeper = doors.keeper()
        good = doors.paths[2].read_bytes()
        doors.paths[2].write_text("rubbish")
        keeper.renew("bundle")
        await doors.settle(keeper)
        assert doors.serials() == {doors.serial}
        doors.paths[2].write_bytes(good)
        keeper.renew("bundle")
        await doors.settle(keeper)

    doors.issue()
    asyncio.run(scene())
    assert len(doors.problems) == 1
    assert "bundle.crt holds no PEM certificate" in doors.problems[0]
    assert doors.renewed == ["bundle"]


def test_what_nobody_expected_is_told_too(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Any:
        raise RuntimeError("out of luck")

    async def scene() -> None:
        keeper = doors.keeper()
        keeper.renew("x")
        await doors.settle(keeper)

    monkeypatch.setattr(doors.contexts[1], "build", fails)
    asyncio.run(scene())
    assert doors.problems == ["the TLS files cannot be used: out of luck"]
    assert doors.serials() == {doors.serial}


@pytest.mark.parametrize(("revoked", "is_on_loop"), [(None, True), (0, True), (2000, False)])
def test_contexts_are_built_on_the_loop_unless_a_list_is_long(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, revoked: int | None, is_on_loop: bool
) -> None:
    if revoked is not None:
        listed = [RevokedCertificate(number + 1, NOW) for number in range(revoked)]
        doors.crl_path.write_bytes(crls_to_pem([build_crl(ISSUING, listed, 1, NOW)]))
    build, threads = doors.contexts[1].build, []

    def noted() -> TlsContext:
        threads.append(threading.current_thread())
        return build()

    monkeypatch.setattr(doors.contexts[1], "build", noted)
    asyncio.run(doors.keeper().work())
    assert doors.problems == []
    assert [each is threading.main_thread() for each in threads] == [is_on_loop]


@pytest.mark.requirement("T13")
def test_ticket_keys_are_renewed_by_age(doors: Doors) -> None:
    async def scene() -> None:
        keeper = doors.keeper()
        doors.now += MAX_AGE - 1
        keeper.check()
        assert not keeper._wanted.is_set()
        doors.now += 1
        keeper.check()
        await doors.settle(keeper)
        keeper.check()
        assert not keeper._wanted.is_set()

    old = [each.current for each in doors.contexts]
    asyncio.run(scene())
    assert doors.renewed == ["ticket keys too old"]
    assert all(each.current is not before for each, before in zip(doors.contexts, old, strict=True))


def test_a_list_that_ran_out_is_told_once(doors: Doors) -> None:
    doors.crl_path.write_bytes(crls_to_pem([build_crl(ISSUING, [], 1, NOW - 100, 50)]))
    for each in doors.contexts:
        each.reload()

    async def scene() -> None:
        keeper = doors.keeper()
        keeper.check()
        keeper.check()

    asyncio.run(scene())
    assert len(doors.problems) == 1
    assert "the revocation list of CN=lockgate issuing CA was to be replaced by" in doors.problems[0]


def test_a_staple_is_taken_up_without_a_new_context(doors: Doors) -> None:
    contexts = [each.current for each in doors.contexts]
    server = contexts[0].certificate
    der = make_staple(ISSUING, server, Known.GOOD, NOW)
    doors.staple_path.write_bytes(der)

    async def scene() -> None:
        keeper = doors.keeper()
        keeper.reload_staples()
        assert [each.staple.answer_for(server.serial_number) for each in doors.contexts] == [der, der]
        doors.staple_path.write_text("rubbish")
        keeper.reload_staples()

    asyncio.run(scene())
    assert [each.current for each in doors.contexts] == contexts
    assert len(doors.problems) == 2
    assert doors.contexts[0].staple.answer_for(server.serial_number) == b""
