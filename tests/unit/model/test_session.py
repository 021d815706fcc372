"""A subscription is known by the text that asked for it, its share included."""

from __future__ import annotations

import pytest

from lockgate.model.session import Subscription
from lockgate.model.topic import split_share


@pytest.mark.parametrize("text", ["a", "#", "$share/team/a", "$share/team//+/#", "$share"])
def test_the_text_of_a_subscription_is_what_was_asked_for(text: str) -> None:
    share, topic_filter = split_share(text)
    assert Subscription(topic_filter, share=share).text == text
