"""Every option of mosquitto.conf has a word, and every setting that the word names exists."""

from __future__ import annotations

import re

import msgspec
import pytest

from lockgate.provision.mosquitto import Taken
from lockgate.provision.mosquitto_options import OPTIONS, with_prefix
from lockgate.settings import Settings

VALUES = ("true", "false", "0", "100", "-1", "2h", "1883 localhost", "websockets", "mqtt", "x y", "")


def test_every_verdict_is_one_of_the_words_of_the_report() -> None:
    for option, verdict in OPTIONS.items():
        for value in VALUES:
            word = verdict(value)
            assert Taken(word.taken) is not Taken.OVER, option
            assert word.why


def test_every_setting_that_a_verdict_names_exists() -> None:
    named = set()
    for verdict in OPTIONS.values():
        for value in VALUES:
            why = verdict(value).why
            named |= {(section, key) for key, section in re.findall(r"put (\w+) = .*? under \[(\w+)\]", why)}
            named |= set(re.findall(r"here (\w+)\.(\w+) always", why))
    for section, key in named:
        assert key in msgspec.structs.asdict(getattr(Settings(), section)), (section, key)
    assert len(named) > 8


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("max_queued_messages", "1000", "max_queued_messages = 1000 under [hub]"),
        ("max_queued_messages", "0", "no limit; here hub.max_queued_messages always has one"),
        ("max_queued_messages", "1000000", "= 60000 (the nearest to 1000000 that it takes)"),
        ("max_packet_size", "20", "= 1024 (the nearest"),
        ("max_connections", "many", "no number"),
        ("persistent_client_expiration", "2d", "= 48 under [hub]"),
        ("persistent_client_expiration", "x", "no duration"),
        ("listener", "8883 10.0.0.1", 'port = 8883, and hosts = ["10.0.0.1"]'),
        ("protocol", "websockets", "websocket_port"),
        ("allow_anonymous", "true", "every client needs a device"),
        ("allow_anonymous", "false", "nobody is anonymous"),
        ("persistence", "false", "memory"),
        ("per_listener_settings", "true", "put together"),
    ],
)
def test_an_option_is_told_what_it_is_here(option: str, value: str, words: str) -> None:
    assert words in OPTIONS[option](value).why


def test_some_options_go_by_their_beginning() -> None:
    for option in ("plugin_opt_config_file", "auth_opt_x", "bridge_cafile", "log_dest"):
        verdict = with_prefix(option)
        assert verdict is not None
        assert verdict("x").why
    assert with_prefix("unheard_of") is None
