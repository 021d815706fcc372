"""What the registry keeps of a SCRAM password: read back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from lockgate.errors import InvalidSettings
from lockgate.model.scram import ScramVerifier

KEY, OTHER_KEY = b"a" * 32, b"b" * 32
VERIFIER = ScramVerifier(b"0123456789abcdef", 15_000, KEY, OTHER_KEY)
TEXT = (
    "SCRAM-SHA-256$15000:MDEyMzQ1Njc4OWFiY2RlZg=="
    "$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=:YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="
)


def test_the_text_is_the_common_one_and_reads_back() -> None:
    assert VERIFIER.to_text() == TEXT
    assert ScramVerifier.from_text(TEXT) == VERIFIER


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("hunter2", "has the form"),
        (TEXT.replace("256", "1"), "has the form"),
        (TEXT + "\n", "has the form"),
        (TEXT.replace("$15000", "$015000"), "has the form"),
        (TEXT.replace("MDEy", "MDE"), "in base64"),
        (TEXT.replace("$15000", "$4095"), "4096 iterations at least, not 4095"),
        (TEXT.replace("$15000", "$99999999"), "not 99999999"),
        (ScramVerifier(b"short", 4096, KEY, OTHER_KEY).to_text(), "12 bytes at least"),
        (ScramVerifier(b"s" * 16, 4096, KEY[1:], OTHER_KEY).to_text(), "two keys of 32"),
        (ScramVerifier(b"s" * 16, 4096, KEY, OTHER_KEY[1:]).to_text(), "two keys of 32"),
    ],
)
def test_what_is_no_verifier_or_a_weak_one_is_refused(text: str, word: str) -> None:
    with pytest.raises(InvalidSettings, match=word) as caught:
        ScramVerifier.from_text(text)
    assert text not in str(caught.value)
