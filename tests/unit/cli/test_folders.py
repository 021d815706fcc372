"""What a device brings, read from files; and the folder it gets."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lockgate.cli.folders import MAX_FILE_BYTES, make_folder, read_given
from lockgate.errors import InvalidSettings, NotFound
from lockgate.home import Home
from lockgate.model.device import CredentialKind
from lockgate.provision.bundle import Given, NewCredential
from tests.support.cli import CommandLine


def named(content: bytes) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = "brought"
    return file


def test_what_is_brought_is_text_and_a_password_has_no_line_end() -> None:
    assert read_given(None, None, None) == Given()
    assert read_given(named(b"PEM\n"), None, named(b"secret \r\n")) == Given("PEM\n", "", "secret ")


@pytest.mark.parametrize("content", [b"", b"\xff", b"x" * (MAX_FILE_BYTES + 1)])
def test_a_file_that_is_empty_too_large_or_no_text_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(InvalidSettings, match="brought"):
        read_given(None, named(content), None)


def test_a_folder_names_the_hub_as_its_certificate_does_and_no_other(lockgate: CommandLine) -> None:
    made: list[NewCredential] = []
    home, kind = Home.open(lockgate.home), CredentialKind.X509
    out = lockgate.folder / "out"
    with pytest.raises(NotFound, match="for: hub"):
        make_folder(home, kind, "lamp", out, "other.example", made.append)
    make_folder(home, kind, "lamp", out, "127.0.0.1", made.append, expires_at=4_000_000_000.0)
    assert '"127.0.0.1"' in Path(out / "device.json").read_text()
    assert made[0].expires_at is not None
    assert made[0].expires_at < 4_000_000_000.0, "no certificate outlives its CA"
