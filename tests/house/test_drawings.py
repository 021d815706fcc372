"""The drawings of docs/explain/flows.md show what is there: rooms, commands and addresses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from lockgate.api import est
from tests.house.test_docs import problem_with
from tests.unit.api.test_est import FakeDesk

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lockgate"
PAGE = (ROOT / "docs" / "explain" / "flows.md").read_text(encoding="utf-8")
DRAWINGS = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.requirement("I10")
def test_every_room_in_a_drawing_exists_and_is_walked_by_both_flows() -> None:
    token, enrolment = (re.findall(r"[a-z0-9_/]+/[a-z0-9_]+\.py", drawing) for drawing in DRAWINGS)
    assert [room for room in (*token, *enrolment) if not (SOURCE / room).exists()] == []
    assert {"identity/jwt.py", "adapters/mqtt/admission.py"} <= set(token)
    assert {"client/enrolment.py", "api/est.py", "provision/enrolment.py", "ca/desk.py"} <= set(enrolment)


@pytest.mark.requirement("I10")
def test_every_address_in_a_drawing_is_served_by_its_method() -> None:
    served = {
        (method, route.path)
        for route in est.routes(lambda: [], FakeDesk())
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    drawn = set(re.findall(r"(GET|POST) (/[a-z./-]+)", "".join(DRAWINGS)))
    assert len(drawn) == 3
    assert drawn <= served


def test_every_command_in_a_drawing_exists() -> None:
    drawn = re.findall(r"lockgate ((?:device|claim) [a-z]+)", "".join(DRAWINGS))
    assert len(drawn) == 3
    assert [problem for line in drawn if (problem := problem_with(line))] == []
