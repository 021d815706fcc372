"""`lockgate gateway`: who speaks for whom."""

from __future__ import annotations

from tests.support.cli import CommandLine


def test_a_gateway_is_bound_listed_and_unbound(lockgate: CommandLine) -> None:
    assert "no gateways" in lockgate.does("gateway", "list").out
    for name in ("gw", "one", "two"):
        lockgate.adds(name)
    facts = lockgate.does("gateway", "bind", "gw", "one", "two", "--json").json()
    assert facts[1] == {"gateway": "gw", "device": "two", "done": "bound"}
    assert "one, two" in lockgate.does("gateway", "list", "gw").out
    assert "speak for it: gw" in lockgate.does("device", "show", "one").out
    assert lockgate.does("device", "show", "one", "--json").json()["gateways"] == ["gw"]
    assert lockgate.does("gateway", "unbind", "gw", "one").out == "unbound one from gw\n"
    assert lockgate.does("gateway", "list", "--json").json() == [{"gateway": "gw", "devices": ["two"]}]
    lockgate.refuses("gateway", "unbind", "gw", "one")
    lockgate.refuses("gateway", "bind", "nobody", "one")
