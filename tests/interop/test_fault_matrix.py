"""The fault matrix: each kind of refusal made by a real client, explained by `lockgate why`, and mended as it says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.interop.acts import coap, credential, est, limits, policy, protocol, tls  # noqa: F401 - they enter their acts
from tests.interop.acts.stage import ACTS, TIGHT, Stage, Told
from tests.interop.faults import FAULTS, Fault
from tests.support.hub import RunningHub, eventually

RIGHT_AT_LEAST = 0.95

right: dict[str, bool] = {}
"""Whether `why` named the cause of each fault, as far as they were made in this run."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two hubs, and room for forgers."""
    folder = tmp_path_factory.mktemp("matrix")
    tight = RunningHub(folder / "tight")
    toml = tight.home / "lockgate.toml"
    mqtt, rest = TIGHT
    assert toml.read_text().count("[mqtt]\n") == 1
    toml.write_text(toml.read_text().replace("[mqtt]\n", f"[mqtt]\n{mqtt}") + rest)
    talkative = '[log]\nlevel = "debug"\n'
    with RunningHub(folder / "roomy", settings=talkative, office=True) as roomy, contextlib.closing(_Stopping(tight)):
        tight.start()
        yield Stage(roomy, tight, folder)


class _Stopping:
    """Stops a hub that may run or not."""

    def __init__(self, hub: RunningHub) -> None:
        self._hub = hub

    def close(self) -> None:
        self._hub.stop()


def test_each_fault_of_the_table_has_an_act() -> None:
    assert [fault.name for fault in FAULTS if fault.name not in ACTS] == []
    assert len(ACTS) == len(FAULTS) >= 40


@pytest.mark.requirement("Q16")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_why_names_the_cause_and_a_fix_that_works(stage: Stage, fault: Fault) -> None:
    right[fault.name] = False
    made = ACTS[fault.name](stage)

    def is_right(told: Told | None) -> bool:
        return told is not None and (told["step"], told["reason"]) == (fault.step, fault.reason)

    with contextlib.suppress(AssertionError):  # what came instead tells more than that it did not come
        eventually(lambda: is_right(stage.newest(made.hub, made.who)), 5.0)
    told = stage.newest(made.hub, made.who)
    assert told is not None, f"nobody was refused who is {made.who}"
    assert (told["step"], told["reason"]) == (fault.step, fault.reason), told
    assert fault.fix in told["fix"], told
    assert told["message"]
    if made.reference:
        assert made.reference == told["reference"], "the client was told of another"
    if fault.is_mended:
        made.mend(told)
    right[fault.name] = True


def test_why_is_right_in_nearly_all_of_them() -> None:
    if len(right) < len(FAULTS):
        pytest.skip("only some of the matrix was run")
    share = sum(right.values()) / len(right)
    assert share >= RIGHT_AT_LEAST, [name for name, is_right in right.items() if not is_right]
