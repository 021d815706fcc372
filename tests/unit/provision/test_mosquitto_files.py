"""mosquitto's files, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.errors import InvalidSettings
from lockgate.provision import mosquitto_files as room
from lockgate.provision.mosquitto_files import read_acl, read_conf, read_passwords


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_conf_is_read_with_what_it_includes_in_its_place(tmp_path: Path) -> None:
    write(tmp_path / "conf.d" / "b.conf", "port 2\n")
    write(tmp_path / "conf.d" / "a.conf", "port 1\n")
    write(tmp_path / "conf.d" / "other.txt", "port 9\n")
    conf = write(tmp_path / "mosquitto.conf", "# words\n\nlistener 1883  localhost\ninclude_dir conf.d\nlog_dest all\n")
    lines = read_conf(conf)
    assert [(Path(each.file).name, each.number, each.word, each.rest) for each in lines] == [
        ("mosquitto.conf", 3, "listener", "1883  localhost"),
        ("mosquitto.conf", 4, "include_dir", "conf.d"),
        ("a.conf", 1, "port", "1"),
        ("b.conf", 1, "port", "2"),
        ("mosquitto.conf", 5, "log_dest", "all"),
    ]


def test_secrets_of_a_conf_are_not_shown(tmp_path: Path) -> None:
    conf = write(tmp_path / "c", "remote_password hunter2\nbridge_psk 0011\npassword_file /etc/p\nuser mosquitto\n")
    assert [each.shown for each in read_conf(conf)] == [
        "remote_password ***", "bridge_psk ***", "password_file /etc/p", "user mosquitto",
    ]  # fmt: skip


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSettings, match="cannot be read"):
        read_conf(tmp_path / "none")
    with pytest.raises(InvalidSettings, match="no folder gone"):
        read_conf(write(tmp_path / "a", "include_dir gone\n"))
    with pytest.raises(InvalidSettings, match="includes itself"):
        read_conf(write(tmp_path / "loop" / "x.conf", f"include_dir {tmp_path / 'loop'}\n"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSettings, match="no text"):
        read_acl(tmp_path / "binary")
    monkeypatch.setattr(room, "MAX_FILE_BYTES", 3)
    with pytest.raises(InvalidSettings, match="larger"):
        read_acl(write(tmp_path / "large", "user a\n"))


def test_a_password_file_gives_users_and_their_hashes(tmp_path: Path) -> None:
    found = read_passwords(write(tmp_path / "p", "# x\nanna:$6$a$b\nbert\n"))
    assert [(each.number, each.user, each.hash) for each in found] == [(2, "anna", "$6$a$b"), (3, "bert", "")]
    assert "$6$" not in repr(found[0])


def test_an_acl_file_gives_lines_with_their_user(tmp_path: Path) -> None:
    text = (
        "topic read open/#\nuser anna\ntopic a b/c\ntopic deny secret/#\ntopic write x\n"
        "pattern read %u/in\nuser bert b\ntopic deny\nnonsense here\n"
    )
    found = [(each.kind, each.user, each.access, each.topic) for each in read_acl(write(tmp_path / "a", text))]
    assert found == [
        ("topic", None, "read", "open/#"),
        ("topic", "anna", "readwrite", "a b/c"),
        ("topic", "anna", "deny", "secret/#"),
        ("topic", "anna", "write", "x"),
        ("pattern", "", "read", "%u/in"),
        ("topic", "bert b", "readwrite", "deny"),
        ("nonsense", "bert b", "unknown", "here"),
    ]
