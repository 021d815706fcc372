"""The figures under $SYS: names as dashboards know them, reasons as levels."""

from __future__ import annotations

from lockgate.model.topic import topic_name
from lockgate.status import Status, sys_topics

STATUS = Status(
    version="1.2",
    uptime_seconds=61,
    connections=2,
    connections_opened=9,
    sessions=5,
    subscriptions=7,
    retained_messages=3,
    messages_published=100,
    messages_delivered=250,
    bytes_received=1000,
    bytes_sent=2000,
    commits=12,
    dropped={"its queue was full": 4, "a/b+#": 1},
    refused={"not authorized: no rule allows it": 6},
)


def test_every_topic_is_a_valid_name_under_sys() -> None:
    for topic in sys_topics(STATUS):
        assert topic_name(topic).startswith("$SYS/broker/")


def test_the_customary_topics_carry_the_figures() -> None:
    topics: dict[str, str] = {name.removeprefix("$SYS/broker/"): text for name, text in sys_topics(STATUS).items()}
    assert topics["version"] == "lockgate version 1.2"
    assert topics["uptime"] == "61 seconds"
    assert topics["clients/connected"] == "2"
    assert topics["clients/disconnected"] == "3"
    assert topics["publish/messages/received"] == "100"
    assert topics["publish/messages/dropped"] == "5"
    assert topics["publish/dropped/its queue was full"] == "4"
    assert topics["publish/dropped/a-b--"] == "1"
    assert topics["refusals/total"] == "6"
