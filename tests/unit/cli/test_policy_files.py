"""`lockgate policy export`, `import` and `check`."""

from __future__ import annotations

import tomllib

import pytest

from tests.support.cli import CommandLine


@pytest.fixture(autouse=True)
def _policy(lockgate: CommandLine) -> None:
    lockgate.adds("sensor", "password")
    lockgate.does("policy", "role", "add", "writer")
    lockgate.does("policy", "role", "grant", "writer", "--device", "sensor")
    lockgate.does("policy", "allow", "--role", "writer", "--publish", "out", "--max-payload", "9", "--rate", "2")
    lockgate.does("policy", "deny", "--everyone", "--receive", "secret/#")


@pytest.mark.requirement("O7")
def test_what_is_exported_is_imported_to_the_same_policy(lockgate: CommandLine) -> None:
    file = lockgate.folder / "policy.toml"
    text = lockgate.does("policy", "export").out
    assert "wrote 2 rules" in lockgate.does("policy", "export", file).out
    assert file.read_text() == text
    assert len(tomllib.loads(text)["rule"]) == 2
    assert lockgate.does("policy", "import", file, "--replace").out == "nothing to change\n"
    lockgate.does("policy", "remove", "1", "2")
    lockgate.does("policy", "role", "remove", "writer")
    lockgate.does("policy", "allow", "--everyone", "--publish", "extra")
    shown = lockgate.does("policy", "import", file, "--replace", "--dry-run").out.splitlines()
    assert shown[0] == "- everyone: allow publish extra (rule 3)"
    assert shown[-1] == "would change: 5 lines"
    assert lockgate.does("policy", "export").out != text
    assert lockgate.does("policy", "import", file, "--replace", "--json").json()["done"]
    assert lockgate.does("policy", "export").out == text
    assert len(lockgate.does("policy", "export", "--json").json()["rules"]) == 2


def test_without_replace_what_is_there_stays(lockgate: CommandLine) -> None:
    file = lockgate.folder / "policy.toml"
    file.write_text('version = 1\n[[rule]]\nfor = "everyone"\nallow = "publish"\ntopic = "more"\n')
    assert "changed: 1 lines" in lockgate.does("policy", "import", file).out
    assert len(lockgate.does("policy", "list", "--json").json()) == 3


def test_an_import_is_all_or_nothing(lockgate: CommandLine) -> None:
    file = lockgate.folder / "policy.toml"
    before = lockgate.does("policy", "export").out
    good = '[[rule]]\nfor = "everyone"\nallow = "publish"\ntopic = "more"\n'
    for bad, words in (("device:nobody", "no device nobody"), ("role:none", "rule 2 (line 6): for: there is no role")):
        file.write_text(f'version = 1\n{good}[[rule]]\nfor = "{bad}"\nallow = "publish"\ntopic = "x"\n')
        assert words in lockgate.refuses("policy", "import", file)
        assert lockgate.does("policy", "export").out == before


def test_files_that_cannot_be_read_or_written_are_named(lockgate: CommandLine) -> None:
    missing = lockgate.folder / "none" / "policy.toml"
    assert "cannot be read" in lockgate.refuses("policy", "import", missing)
    assert "cannot be read" in lockgate.refuses("policy", "check", missing)
    assert "cannot be written" in lockgate.refuses("policy", "export", missing)


EXPECTED = """
[[expect]]
device = "sensor"
publish = "out"
payload_bytes = 9
allowed = true
rule = "role:writer"

[[expect]]
device = "sensor"
receive = "secret/#"
allowed = false
"""


def test_a_check_passes_on_the_home_and_on_an_exported_policy(lockgate: CommandLine) -> None:
    file, policy = lockgate.folder / "expect.toml", lockgate.folder / "policy.toml"
    file.write_text(EXPECTED)
    lockgate.does("policy", "export", policy)
    assert lockgate.does("policy", "check", file).out == "2 of 2 expectations are met\n"
    lockgate.does("policy", "role", "remove", "writer")
    done = lockgate("policy", "check", file)
    assert done.code == 1
    assert "sensor  publish out  allowed by role:writer  denied  no rule allows it" in done.out
    assert "1 of 2 expectations are met" in done.out
    assert lockgate("policy", "check", file, "--json").json()[0]["is_met"] is False
    assert lockgate.does("policy", "check", file, "--policy", policy).out == "2 of 2 expectations are met\n"
