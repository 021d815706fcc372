"""What a peer reads when the office says no."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lockgate import errors
from lockgate.api.answers import status_of
from lockgate.errors import AuthenticationFailed, LockgateError, RateExceeded
from tests.support.asgi import Answered, Caller


def answer(error: Exception) -> tuple[Answered, Caller]:
    async def fail(_request: Request) -> Response:
        raise error

    caller = Caller([Route("/x", fail)])
    return caller.get("/x"), caller


OURS = [kind for kind in LockgateError.__subclasses__() if kind.__module__ == "lockgate.errors"]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_only_a_damaged_store_is_our_own_fault(kind: type[LockgateError]) -> None:
    assert (status_of(kind()) == 500) == (kind is errors.StoreDamaged)


def test_a_refusal_tells_reason_fix_and_reference_but_not_the_operators_words() -> None:
    error = AuthenticationFailed("the token of anna is wrong", reason="wrong token", fix="use another")
    answered, caller = answer(error)
    assert answered.text == "wrong token: use another\nreference: K7Q2-9XMD\n"
    assert (answered.status, answered.headers["content-type"]) == (401, "text/plain; charset=utf-8")
    assert answered.headers["www-authenticate"].startswith("Basic ")
    assert caller.refused == [error]


def test_who_came_too_often_is_told_when_to_come_again() -> None:
    answered, _ = answer(RateExceeded())
    assert (answered.status, answered.headers["retry-after"]) == (429, "60")
    answered, _ = answer(errors.Unavailable())
    assert (answered.status, answered.headers["retry-after"]) == (503, "5")


def test_an_error_that_nobody_foresaw_tells_a_reference_and_nothing_else() -> None:
    answered, caller = answer(ValueError("a secret"))
    assert answered.status == 500
    assert answered.text.startswith("unspecified error\nreference: ")
    assert "secret" not in answered.text
    assert caller.refused == []


def test_what_is_not_there_and_what_is_not_done_are_on_record_as_well() -> None:
    async def nothing(_request: Request) -> Response:
        return Response()

    caller = Caller([Route("/x", nothing)])
    answered = caller.get("/y")
    assert (answered.status, answered.text) == (404, "Not Found\nreference: K7Q2-9XMD\n")
    assert caller.post("/x").status == 405
    assert [error.evidence["asked for"] for error in caller.refused] == ["GET /y", "POST /x"]
    assert {error.reason for error in caller.refused} == {"not offered by the office"}
