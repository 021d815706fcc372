"""The bench's canaries sing: a run of ours has no figures when the policy did not decide it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.brokers
import bench.canary
import bench.generator
from bench.brokers import Lockgate, Provisioned
from bench.canary import CanaryWrong
from bench.fleet import CANARY, Fleet, fill
from bench.measures import Context, Flow
from bench.processes import output_of
from bench.report import OURS

pytestmark = pytest.mark.process

COMMAND = str(Path(sys.executable).with_name("lockgate"))
PLAIN = Flow("a few", (OURS,), warm_up=10)
TLS = Flow("a few over TLS", (OURS,), warm_up=10, tls=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    folder = tmp_path_factory.mktemp("fleet")
    fleet = Fleet(folder, certificates=3, tokens=1, rules_for_each=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.generator, "LOAD", folder / "load")
        patch.delenv("LOCKGATE_BENCH", raising=False)
        bench.generator.build_load()
        fill(COMMAND, fleet)
        yield Context(fleet, seconds=0.1, quick=True)


def ours(context: Context) -> Lockgate:
    return Lockgate(Provisioned.of(context.fleet))


@pytest.mark.parametrize("flow", [PLAIN, TLS])
def test_a_run_that_the_policy_decided_has_figures(flow: Flow, context: Context, tmp_path: Path) -> None:
    sample = flow.run(ours(context), tmp_path, context)
    assert sample.problem is None or "saturated" in sample.problem
    assert sample.figures["cpu"] >= 0
    assert sample.said["delivered"] > 0


def test_a_canary_that_hears_the_load_ends_the_run(context: Context, tmp_path: Path) -> None:
    broker = Lockgate(Provisioned(context.fleet.all_allowing, context.fleet.devices / "d%i", "d%i", is_ruled=True))
    with pytest.raises(CanaryWrong, match="a publish that a rule denies was answered with 0x00"):
        PLAIN.run(broker, tmp_path, context)


@pytest.mark.parametrize("flow", [PLAIN, TLS])
def test_a_rule_that_silences_nobody_ends_the_run(
    flow: Flow, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.canary, "output_of", lambda *_command: "")
    with pytest.raises(CanaryWrong, match="still hears it"):
        flow.run(ours(context), tmp_path, context)


def test_the_fleet_has_the_rules_that_the_bench_says(context: Context) -> None:
    text = output_of(COMMAND, "policy", "export", "--home", str(context.fleet.home))
    assert text.count("[[rule]]") == context.fleet.rules
    assert text.count(f"device:{CANARY}") == 4
