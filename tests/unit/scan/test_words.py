"""Sentences and commands that checks share."""

from __future__ import annotations

from lockgate.scan.subject import Subject
from lockgate.scan.words import day, default_again, mend_authority, named, quoted, setting
from lockgate.settings import parse_settings


def test_names_are_listed_up_to_a_few() -> None:
    assert named(["a"]) == "a"
    assert named("abcdefg") == "a, b, c, d, e and 2 more"


def test_the_issuing_ca_is_rotated_and_a_root_is_not() -> None:
    assert mend_authority(is_root=False) == "lockgate ca rotate"
    assert "lockgate init" in mend_authority(is_root=True)


def test_days_and_paths_are_spelled_for_people_and_shells() -> None:
    assert day(0.0) == "1970-01-01"
    assert quoted("/a b") == "'/a b'"


def test_a_look_at_a_setting_speaks_only_when_it_is_bad() -> None:
    look = setting("mqtt.port", lambda settings: settings.mqtt.port == 1, "too low")
    subject = Subject(0.0, "home", settings=parse_settings("[mqtt]\nport = 1"), settings_path="/x y/lockgate.toml")
    (problem,) = look(subject)
    assert problem.text == "mqtt.port is 1: too low"
    assert problem.fix.startswith(default_again(subject, "port"))
    assert "'/x y/lockgate.toml'" in problem.fix
    assert list(look(Subject(0.0, "home", settings=parse_settings("")))) == []
