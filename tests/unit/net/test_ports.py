"""Who holds a port, read from a /proc made for the test."""

from __future__ import annotations

import os
from pathlib import Path

from lockgate.net.ports import owner_of_port

_TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:22B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:22B4 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
"""


def _make_proc(folder: Path) -> Path:
    (folder / "net").mkdir()
    (folder / "net" / "tcp").write_text(_TABLE)
    descriptors = folder / "321" / "fd"
    descriptors.mkdir(parents=True)
    (folder / "321" / "comm").write_text("mosquitto\n")
    os.symlink("socket:[4711]", descriptors / "5")
    os.symlink("socket:[4712]", descriptors / "6")
    return folder


def test_listening_process_is_named(tmp_path: Path) -> None:
    assert owner_of_port(8883, _make_proc(tmp_path)) == "mosquitto (process 321)"


def test_port_that_is_only_connected_has_no_owner(tmp_path: Path) -> None:
    assert owner_of_port(8884, _make_proc(tmp_path)) == ""


def test_owner_that_cannot_be_seen_is_left_out(tmp_path: Path) -> None:
    proc = _make_proc(tmp_path)
    (proc / "321" / "fd" / "5").unlink()
    assert owner_of_port(8883, proc) == ""


def test_process_that_has_a_udp_port_is_named(tmp_path: Path) -> None:
    proc = _make_proc(tmp_path)
    (proc / "net" / "udp").write_text(_TABLE.replace(" 0A ", " 07 "))
    assert owner_of_port(8883, proc, "udp") == "mosquitto (process 321)"
    assert owner_of_port(8884, proc, "udp") == ""
