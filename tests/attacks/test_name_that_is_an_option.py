"""Threat: a host name in SNI that is an option or holds control characters, in a command line that people paste."""

from __future__ import annotations

import shlex

import pytest

from lockgate.net.failures import add_name_fix, left_failure
from lockgate.net.link import Address
from lockgate.registry.journal import Journal, Peer
from tests.support.registry import recent

PEER = Peer("mqtt", Address("192.0.2.7", 40_000))


def fixes(name: str) -> set[str]:
    journal = Journal(10)
    journal.uncovered_name(name, PEER)
    (refusal,) = recent(journal._refusals)
    return {refusal.fix, left_failure(10, name, False).fix, add_name_fix(name)}


@pytest.mark.parametrize("name", ["--home=/tmp/evil", "-x", "--", "a\nrm", "a\x1b[2J"])
def test_a_name_that_is_none_gives_no_command(name: str) -> None:
    assert fixes(name) == {""}


@pytest.mark.parametrize("name", ["hub.example", "a;rm -rf ~", "$(id)", "a'b", "`id`", "a b"])
def test_any_other_name_is_one_word_of_it(name: str) -> None:
    (fix,) = fixes(name)
    assert shlex.split(fix) == ["lockgate", "server-cert", "add-name", name]
