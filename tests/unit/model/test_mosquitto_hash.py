"""Hashes of mosquitto: checked as they are, and never shown."""

from __future__ import annotations

import pytest

from lockgate.errors import InvalidSettings
from lockgate.model.mosquitto_hash import PREFIX, MosquittoHash, is_mosquitto_hash

# Made by mosquitto_passwd 2.0.11: -H sha512 and -H sha512-pbkdf2, of "secret1" and "secret2".
ONCE = "$6$fk9nWCSuRY2aZwBp$EBJp9aENw+g24GfevGZkeOQT9xMZctDe0m0P1OYMGLlR/mhXFxp4cbq70Lx2wpsdl0eH4VIMDrNS2rkI3dZCcw=="
OFTEN = (
    "$7$101$FTpQTp6nhu8IyTaa$M7YE8oEjHovZ2be3d2JlJZ3ahGfLtqSdFonI8pLR1Mlq3RgXh7XE6RxauEJ5Lyi44nVKWReTTsIzXC/7N1jbmw=="
)


@pytest.mark.requirement("F19")
@pytest.mark.parametrize(("text", "secret", "iterations"), [(ONCE, b"secret1", 0), (OFTEN, b"secret2", 101)])
def test_the_right_password_matches_and_no_other(text: str, secret: bytes, iterations: int) -> None:
    held = MosquittoHash.from_text(text)
    assert held.iterations == iterations
    assert held.matches(secret)
    assert not held.matches(secret + b"x")
    assert not held.matches(b"")
    assert is_mosquitto_hash(held.text)
    assert MosquittoHash.from_text(held.text) == held


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret1",
        "$6$onlysalt",
        ONCE.replace("$6$", "$5$"),
        OFTEN.replace("$101$", "$0$"),
        OFTEN.replace("$101$", "$2000000$"),
        OFTEN.replace("$101$", "$-1$"),
        ONCE[:-8],
        "$6$====$" + ONCE.split("$")[3],
        "$6$A$" + ONCE.split("$")[3],
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA",
        PREFIX + PREFIX + ONCE,
        ONCE + "\n",
    ],
)
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        MosquittoHash.from_text(text)
    assert not text or text not in str(caught.value)


def test_a_hash_is_not_shown() -> None:
    held = MosquittoHash.from_text(ONCE)
    assert repr(held) == "MosquittoHash(0 iterations)"
    assert not is_mosquitto_hash("$argon2id$x")
