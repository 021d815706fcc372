"""A mosquitto's configuration becomes devices and rules, and a word on every line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.model.permission import Effect, Operation
from lockgate.provision.mosquitto import Plan, Taken, read_mosquitto
from tests.unit.model.test_mosquitto_hash import OFTEN, ONCE

ACL = """\
topic read public/#
user anna
topic read plan/#
topic deny plan/secret
topic write a/${device}
topic read bad/#/filter
user ghost
topic readwrite #
pattern readwrite home/%u/#
pattern deny locked/%c/#
rubbish
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "passwd").write_text(
        f"anna:{ONCE}\nbert:{OFTEN}\nanna:{OFTEN}\nno name:{ONCE}\nplain:secret\nold:{ONCE}\n"
    )
    (tmp_path / "acl").write_text(ACL)
    path = tmp_path / "mosquitto.conf"
    path.write_text(
        "listener 1883\nallow_anonymous false\npassword_file /etc/mosquitto/passwd\nacl_file acl\nunheard_of 1\n"
        "connection bridge\naddress other\ntopic # both\nlistener 1884\n"
    )
    return path


def note(plan: Plan, line: str) -> tuple[Taken, str]:
    found = [each for each in plan.notes if each.line == line]
    return found[-1].taken, found[-1].why


@pytest.mark.requirement("F19")
def test_users_become_devices_with_their_hashes_and_rules(conf: Path) -> None:
    plan = read_mosquitto(conf, frozenset({"old"}))
    assert [(each.name, each.credential.public) for each in plan.devices] == [
        ("anna", "$mosquitto" + ONCE), ("bert", "$mosquitto" + OFTEN),
    ]  # fmt: skip
    anna, bert = plan.devices
    assert [(rule.operation, rule.filter, rule.effect) for rule in anna.rules] == [
        (Operation.RECEIVE, "plan/#", Effect.ALLOW),
        (Operation.PUBLISH, "plan/secret", Effect.DENY),
        (Operation.RECEIVE, "plan/secret", Effect.DENY),
    ]
    assert {rule.subject for rule in anna.rules} == {"device:anna"}
    assert bert.rules == ()
    assert [(rule.operation, rule.filter, rule.effect) for rule in plan.rules] == [
        (Operation.PUBLISH, "home/${device}/#", Effect.ALLOW),
        (Operation.RECEIVE, "home/${device}/#", Effect.ALLOW),
        (Operation.PUBLISH, "locked/${client_id}/#", Effect.DENY),
        (Operation.RECEIVE, "locked/${client_id}/#", Effect.DENY),
    ]
    assert {rule.subject for rule in plan.rules} == {"everyone"}


@pytest.mark.requirement("F19")
@pytest.mark.parametrize(
    ("line", "taken", "words"),
    [
        ("anna", Taken.NOT, "before"),
        ("bert", Taken.OVER, "bert/SUFFIX"),
        ("no name", Taken.NOT, "no valid device name"),
        ("plain", Taken.NOT, "mosquitto's form"),
        ("old", Taken.NOT, "already"),
        ("topic read public/#", Taken.NOT, "anonymous"),
        ("topic read plan/#", Taken.OVER, "device:anna: allow plan/#"),
        ("topic write a/${device}", Taken.NOT, "beginning of a variable"),
        ("topic read bad/#/filter", Taken.NOT, "#"),
        ("topic readwrite #", Taken.NOT, "ghost was not taken over"),
        ("pattern readwrite home/%u/#", Taken.OVER, "everyone"),
        ("pattern deny locked/%c/#", Taken.DIFFERS, "outranks"),
        ("rubbish ", Taken.NOT, "no line"),
        ("unheard_of 1", Taken.NOT, "unknown here"),
        ("connection bridge", Taken.NOT, "bridge"),
        ("topic # both", Taken.NOT, "bridge"),
        ("listener 1884", Taken.BY_HAND, "port = 1884"),
        ("allow_anonymous false", Taken.SAME, "nobody"),
    ],
)
def test_every_line_has_a_word(conf: Path, line: str, taken: Taken, words: str) -> None:
    found = note(read_mosquitto(conf, frozenset({"old"})), line)
    assert found[0] is taken
    assert words in found[1]


def test_no_line_is_passed_over_in_silence(conf: Path) -> None:
    notes = read_mosquitto(conf).notes
    said = {(Path(each.file).name, each.number) for each in notes}
    for name in ("mosquitto.conf", "passwd", "acl"):
        for number, line in enumerate((conf.parent / name).read_text().splitlines(), 1):
            assert (name, number) in said or line.startswith("user "), line
    assert "secret" not in "".join(each.line + each.why for each in notes if each.line == "plain")


def test_without_an_acl_file_nothing_is_allowed_and_that_is_said(tmp_path: Path) -> None:
    conf = tmp_path / "mosquitto.conf"
    conf.write_text("persistence true\n")
    plan = read_mosquitto(conf)
    assert (plan.devices, plan.rules) == ((), ())
    assert "devices/NAME/#" in note(plan, "(no acl_file)")[1]
    assert note(plan, "(subscriptions)")[0] is Taken.DIFFERS
