"""The profile of a message: each function belongs to a group, and the shares add up to the CPU that was used."""

from __future__ import annotations

import pytest

from bench.profile import DOOR, GROUPS, HUB, INTERPRETER, KERNEL, LOOP, MEMORY, NET, OBJECTS, TLS, fold, group_of

OURS = "/x/lockgate__mypyc.cpython-311-x86_64-linux-gnu.so"
PYTHON = "/x/libpython3.11.so.1.0"


@pytest.mark.parametrize(
    ("symbol", "library", "group"),
    [
        ("tcp_sendmsg", "[kernel.kallsyms]", KERNEL),
        ("CPyDef_hub___Hub___publish", OURS, HUB),
        ("CPyDef_hub___session___Session___deliver", OURS, HUB),
        ("CPyDef_wire____decode_publish", OURS, DOOR),
        ("CPyDef_mqtt___wire____decode_publish", OURS, DOOR),
        ("CPyPy_server___MqttConnection___data_received", OURS, DOOR),
        ("CPyDef_streams___PlainLink___write", OURS, NET),
        ("CPyDict_GetItem", OURS, OBJECTS),
        ("PyObject_GetAttr", PYTHON, OBJECTS),
        ("_PyEval_EvalFrameDefault", PYTHON, INTERPRETER),
        ("uv__read", "/x/uvloop/loop.cpython-311-x86_64-linux-gnu.so", LOOP),
        ("aesni_gcm_encrypt", "/x/cryptography/hazmat/bindings/_rust.abi3.so", TLS),
        ("__memmove_avx512", "/usr/lib/x86_64-linux-gnu/libc.so.6", MEMORY),
    ],
)
def test_a_function_belongs_to_the_group_of_its_room(symbol: str, library: str, group: str) -> None:
    assert group_of(symbol, library) == group


def test_shares_add_up_to_the_cpu_that_was_used() -> None:
    kernel, hub = " ffff81 tcp_sendmsg ([kernel.kallsyms])\n", f" 7f12 CPyDef_hub___Hub___publish ({OURS})\n"
    found = fold([kernel, hub, hub, "\n", hub], 2.0, "1 to 1")
    assert found.groups == {group: {KERNEL: 0.5, HUB: 1.5}.get(group, 0.0) for group in GROUPS}
    assert found.symbols == {"CPyDef_hub___Hub___publish": 1.5, "the kernel": 0.5}
