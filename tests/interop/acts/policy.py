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
