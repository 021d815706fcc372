"""The mark that says which statements of which standard a test is a test of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import pytest

Version = Literal["5.0", "3.1.1", "RFC 7252", "RFC 7641", "RFC 7959"]
F = TypeVar("F", bound=Callable[..., Any])


def statement(version: Version, *numbers: str) -> Callable[[F], F]:
    """Mark a test as one of these statements: `@statement("5.0", "MQTT-3.1.0-1")`. May stand there once a version."""
    mark: Callable[[F], F] = pytest.mark.statement(version, *numbers)
    return mark


needs_lockgate = pytest.mark.needs_lockgate
"""For the few statements that need settings or credentials that only our own hub can be given."""
