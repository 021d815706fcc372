"""Settings: every default finite and usable, every mistake named with its path and what would mend it."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidSettings
from lockgate.settings import Settings, load_settings, parse_settings


def refused(text: str) -> InvalidSettings:
    with pytest.raises(InvalidSettings) as caught:
        parse_settings(text)
    return caught.value


def test_an_empty_file_gives_the_defaults() -> None:
    assert parse_settings("") == Settings()


def test_the_defaults_are_finite_and_pass_their_own_checks() -> None:
    facts = msgspec.to_builtins(Settings())
    assert msgspec.convert(facts, Settings) == Settings()
    numbers = [value for section in facts.values() for value in section.values() if isinstance(value, int | float)]
    assert len(numbers) > 15
    assert all(math.isfinite(number) for number in numbers)


def test_what_the_file_says_is_taken() -> None:
    settings = parse_settings(
        '[mqtt]\nport = 0\nhosts = ["::1"]\n[store]\ndurability = "os"\n[identity]\nlockout_seconds = 5\n'
    )
    assert (settings.mqtt.port, settings.mqtt.hosts, settings.store.durability) == (0, ("::1",), "os")
    assert settings.identity.lockout_seconds == 5.0


def test_origins_are_taken_as_browsers_write_them() -> None:
    text = '[mqtt]\nwebsocket_origins = ["https://app.example:8443", "capacitor://localhost", "file://", "*"]'
    assert len(parse_settings(text).mqtt.websocket_origins) == 4


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("[mqtt]\nprot = 1", "unknown setting mqtt.prot", "did you mean port?"),
        ("[mqtt]\nzzzz = 1", "unknown setting mqtt.zzzz", "known here: hosts, port,"),
        ("[mqqt]\nport = 1", "unknown setting mqqt", "did you mean mqtt?"),
        ("port = 1", "unknown setting port", "known here: mqtt, coap, hub,"),
        ("[mqtt]\nport = 'x'", "mqtt.port: expected `int`, got `str`", "docs/reference/settings.md"),
        ("[mqtt]\nport = -1", "mqtt.port: expected `int` >= 0", ""),
        ("[mqtt]\nport = true", "mqtt.port: expected `int`, got `bool`", ""),
        ("[mqtt]\nport = 1979-05-27", "mqtt.port: expected `int`, got `date`", ""),
        ("[mqtt]\nhosts = [1]", "mqtt.hosts[0]: expected `str`", ""),
        ("[mqtt]\non_refused_publish = 'ignore'", "mqtt.on_refused_publish: invalid enum value 'ignore'", ""),
        ("[mqtt]\nwebsocket_origins = ['https://x/']", "mqtt.websocket_origins[0]: expected an origin as", ""),
        ("[mqtt]\nwebsocket_origins = ['x.example']", "mqtt.websocket_origins[0]: expected an origin as", ""),
        ("mqtt = 1", "mqtt: expected `object`, got `int`", ""),
        ("[net]\nhandshake_deadline_seconds = 0", "net.handshake_deadline_seconds: expected `float` > 0", ""),
        ("[net]\nhandshake_deadline_seconds = inf", "net.handshake_deadline_seconds: expected `float` <= ", ""),
        ("[identity]\njwt_clock_skew_seconds = nan", "identity.jwt_clock_skew_seconds: expected", ""),
        ("[identity]\njwt_clock_skew_seconds = inf", "identity.jwt_clock_skew_seconds: expected", ""),
        ("[identity]\njwt_max_lifetime_hours = inf", "identity.jwt_max_lifetime_hours: expected", ""),
        ("[mqtt", "lockgate.toml is no TOML", "mend that line"),
        ("[mqtt]\nport=1\nport=2", "lockgate.toml is no TOML", "mend that line"),
        ("a = " + "[" * 5000, "lockgate.toml is no TOML", "mend that line"),
    ],
)
def test_a_mistake_is_named_with_its_path_and_a_fix(text: str, message: str, fix: str) -> None:
    error = refused(text)
    assert message in str(error)
    assert "$" not in str(error)
    assert error.fix
    assert fix in error.fix


@given(st.text())
def test_no_text_makes_anything_but_settings_or_the_one_error(text: str) -> None:
    with suppress(InvalidSettings):
        assert isinstance(parse_settings(text), Settings)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "lockgate.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidSettings, match="cannot be read") as caught:
        load_settings(path)
    assert str(path) in str(caught.value)


def test_a_file_is_read_and_its_name_stands_in_the_errors(tmp_path: Path) -> None:
    path = tmp_path / "lockgate.toml"
    path.write_text("[hub]\nmax_sessions = 5\n")
    assert load_settings(path).hub.max_sessions == 5
    path.write_text("[hub]\nmax_session = 5\n")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}: unknown setting hub.max_session")
