"""Faults in what a client may do."""

from __future__ import annotations

import subprocess

from tests.interop.acts.stage import (
    Made,
    Stage,
    Told,
    act,
    connects,
    mosquitto_says,
    reference_in,
    wait_for,
    works,
)
from tests.support import mosquitto
from tests.support.paho_client import V311, PahoClient, Will
from tests.support.peers import WAIT_SECONDS, Login, program


def blocked_then_not(stage: Stage, shown: Login, reference: str) -> Made:
    """Unblock a device by the command that is the fix."""

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        wait_for(lambda: connects(shown)[0] == 0, "its admission")

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("a blocked device")
def blocked(stage: Stage) -> Made:
    shown = stage.device("x509")
    stage.command("device", "block", shown.client_id)
    wait_for(lambda: connects(shown)[0] != 0, "the block")
    assert mosquitto_says(shown).returncode != 0
    return blocked_then_not(stage, shown, "")


@act("a device of a blocked group")
def blocked_group(stage: Stage) -> Made:
    stage.command("group", "add", "matrix-group")
    shown = stage.device("x509", "--group", "matrix-group")
    stage.command("group", "block", "matrix-group")
    wait_for(lambda: connects(shown)[0] != 0, "the block")
    return blocked_then_not(stage, shown, connects(shown)[1])


@act("blocked while connected")
def blocked_while_connected(stage: Stage) -> Made:
    shown = stage.device("x509")
    client = PahoClient(shown)
    assert client.connect().code == 0
    stage.command("device", "block", shown.client_id)
    reference = reference_in(client.end().reason)
    client.close()
    assert reference
    return blocked_then_not(stage, shown, reference)


def publishes(shown: Login, topic: str, qos: int = 1, retain: bool = False) -> tuple[int, str]:
    """Publish with paho; give the code of the PUBACK and the reference in it."""
    with PahoClient(shown) as client:
        answer = client.publish(topic, "hello", qos, retain)
        return answer.code, reference_in(answer.reason)


def forbidden(shown: Login, topic: str, qos: int = 1, retain: bool = False) -> str:
    """See that a message is refused; give the reference that paho was told."""
    code, reference = publishes(shown, topic, qos, retain)
    assert code == 0x87
    assert reference
    return reference


def allowed_soon(shown: Login, topic: str) -> None:
    """See that a message is taken as soon as the hub took up a change."""
    wait_for(lambda: publishes(shown, topic)[0] < 0x80, "the new rule")


@act("publish: no rule")
def publish_no_rule(stage: Stage) -> Made:
    shown = stage.device("x509")
    said = mosquitto_says(shown, "matrix/one")
    assert "Not authorized" in said.stderr

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        allowed_soon(shown, "matrix/one")

    return Made({"client_id": shown.client_id}, mend, stage.roomy)


@act("publish: no rule (3.1.1)")
def publish_no_rule_311(stage: Stage) -> Made:
    shown = stage.device("x509")
    client = PahoClient(shown, V311)
    assert client.connect().code == 0
    client.send("matrix/two", "hello", 1)
    client.end()
    client.close()

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        allowed_soon(shown, "matrix/two")

    return Made({"client_id": shown.client_id}, mend, stage.roomy)


@act("publish: a rule denies it")
def publish_denied(stage: Stage) -> Made:
    shown = stage.device("x509", "--publish", "matrix/#")
    stage.command("policy", "deny", "--device", shown.client_id, "--publish", "matrix/three")
    wait_for(lambda: publishes(shown, "matrix/three")[0] == 0x87, "the new rule")
    reference = forbidden(shown, "matrix/three")

    def mend(told: Told) -> None:
        assert told["evidence"]["rule"]
        stage.does_the_fix(told)
        allowed_soon(shown, "matrix/three")

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("publish: QoS above the rule's")
def publish_qos(stage: Stage) -> Made:
    shown = stage.device("x509")
    stage.command("policy", "allow", "--device", shown.client_id, "--publish", "matrix/four", "--qos", "0")
    who = {"client_id": shown.client_id, "reason": "not authorized: QoS 1 is above the rule's 0"}
    wait_for(lambda: forbidden(shown, "matrix/four") and stage.newest(stage.roomy, who), "the new rule")
    reference = forbidden(shown, "matrix/four")

    def mend(_told: Told) -> None:
        stage.command("policy", "allow", "--device", shown.client_id, "--publish", "matrix/four")
        allowed_soon(shown, "matrix/four")

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("publish: retained, and the rule allows none")
def publish_retained(stage: Stage) -> Made:
    shown = stage.device("x509")
    stage.command("policy", "allow", "--device", shown.client_id, "--publish", "matrix/five", "--no-retain")
    allowed_soon(shown, "matrix/five")
    reference = forbidden(shown, "matrix/five", retain=True)
    return Made(
        {"client_id": shown.client_id}, lambda _told: allowed_soon(shown, "matrix/five"), stage.roomy, reference
    )


@act("publish: as the hub ($SYS)")
def publish_sys(stage: Stage) -> Made:
    shown = stage.device("x509")
    reference = forbidden(shown, "$SYS/broker/uptime")
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.roomy, reference)


@act("subscribe: no rule covers it")
def subscribe_no_rule(stage: Stage) -> Made:
    shown = stage.device("x509")
    words = [*mosquitto.options(shown, mosquitto.V5), "-q", "1", "-t", "matrix/six/#", "-E"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program("mosquitto_sub"), *words], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
        )

    assert "All subscription requests were denied" in run().stderr

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        wait_for(lambda: "denied" not in run().stderr, "the new rule")

    return Made({"client_id": shown.client_id}, mend, stage.roomy)


@act("subscribe: shared, and no rule covers it")
def subscribe_shared(stage: Stage) -> Made:
    shown = stage.device("x509")

    def asks() -> tuple[int, str]:
        with PahoClient(shown) as client:
            answer = client.subscribe("$share/team/matrix/seven", 1)
            return answer.code, reference_in(answer.reason)

    code, reference = asks()
    assert code == 0x87

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        wait_for(lambda: asks()[0] < 0x80, "the new rule")

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("will: on a forbidden topic")
def forbidden_will(stage: Stage) -> Made:
    shown = stage.device("x509")

    def asks() -> tuple[int, str]:
        client = PahoClient(shown, will=Will("matrix/eight", "gone"))
        answer = client.connect()
        client.close()
        return answer.code, reference_in(answer.reason)

    code, reference = asks()
    assert code == 0x87

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        wait_for(lambda: asks()[0] == 0, "the new rule")

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("publish: a QoS level that is not among the rule's")
def publish_level(stage: Stage) -> Made:
    shown = stage.device("x509")
    stage.command("policy", "allow", "--device", shown.client_id, "--publish", "matrix/nine", "--qos", "0,2")
    who = {"client_id": shown.client_id, "reason": "not authorized: the rule allows it at QoS 0 and 2"}
    wait_for(lambda: forbidden(shown, "matrix/nine") and stage.newest(stage.roomy, who), "the new rule")
    reference = forbidden(shown, "matrix/nine")

    def mend(_told: Told) -> None:
        assert publishes(shown, "matrix/nine", 2)[0] in (0, 0x10)

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


def long_message(shown: Login, topic: str) -> tuple[int, str]:
    """Publish eleven bytes with paho."""
    with PahoClient(shown) as client:
        answer = client.publish(topic, "hello again", 1)
        return answer.code, reference_in(answer.reason)


@act("publish: a payload larger than the rule's")
def publish_large(stage: Stage) -> Made:
    shown = stage.device("x509")
    stage.command("policy", "allow", "--device", shown.client_id, "--publish", "matrix/ten", "--max-payload", "10")
    allowed_soon(shown, "matrix/ten")
    code, reference = long_message(shown, "matrix/ten")
    assert code == 0x87

    def mend(_told: Told) -> None:
        stage.command("policy", "allow", "--device", shown.client_id, "--publish", "matrix/ten", "--max-payload", "20")
        wait_for(lambda: long_message(shown, "matrix/ten")[0] in (0, 0x10), "the wider rule")

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("publish: more often than the rule allows")
def publish_often(stage: Stage) -> Made:
    shown = stage.device("x509")
    rule = "policy", "allow", "--device", shown.client_id, "--publish", "matrix/eleven"
    stage.command(*rule, "--rate", "0.01")
    wait_for(lambda: publishes(shown, "matrix/eleven")[0] != 0x87, "the new rule")
    wait_for(lambda: publishes(shown, "matrix/eleven")[0] >= 0x80, "the end of its burst")
    code, reference = publishes(shown, "matrix/eleven")
    assert code == 0x97

    def mend(told: Told) -> None:
        stage.command("policy", "remove", told["fix"].rpartition("rule ")[2])
        stage.command(*rule)
        allowed_soon(shown, "matrix/eleven")

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("publish: for a device that the gateway is not bound to")
def gateway(stage: Stage) -> Made:
    gateway, bound, other = stage.device("x509"), stage.device("x509"), stage.device("x509")
    stage.command("gateway", "bind", gateway.client_id, bound.client_id)
    allowed_soon(gateway, f"devices/{bound.client_id}/x")
    topic = f"devices/{other.client_id}/x"
    reference = forbidden(gateway, topic)

    def mend(told: Told) -> None:
        stage.command(*told["fix"].partition(",")[0].split()[1:])
        allowed_soon(gateway, topic)

    return Made({"client_id": gateway.client_id}, mend, stage.roomy, reference)


@act("publish: a role that the device does not hold")
def role(stage: Stage) -> Made:
    holder, other = stage.device("x509"), stage.device("x509")
    stage.command("policy", "role", "add", "matrix-role")
    stage.command("policy", "allow", "--role", "matrix-role", "--publish", "matrix/twelve")
    stage.command("policy", "role", "grant", "matrix-role", "--device", holder.client_id)
    allowed_soon(holder, "matrix/twelve")
    reference = forbidden(other, "matrix/twelve")

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        allowed_soon(other, "matrix/twelve")

    return Made({"client_id": other.client_id}, mend, stage.roomy, reference)


@act("a device of a group that is blocked while it is connected")
def group_blocked_while_connected(stage: Stage) -> Made:
    stage.command("group", "add", "matrix-team")
    shown = stage.device("x509", "--group", "matrix-team")
    client = PahoClient(shown)
    assert client.connect().code == 0
    stage.command("group", "block", "matrix-team")
    reference = reference_in(client.end().reason)
    client.close()
    assert reference
    return blocked_then_not(stage, shown, reference)
