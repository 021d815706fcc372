"""Passwords that people choose for a device: refused when somebody could guess them.

The hub's own are 192 random bits; these are for devices whose password is set elsewhere. What is in a small list (the
defaults that worms try, the words that people take), the device's name, what is remembered about it, any of it
backwards or with digits around it, counts for nothing; what is left must be hard to guess by itself.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterable

from lockgate.errors import InvalidSettings

MIN_BITS = 64.0
MIN_CHARACTERS = 10
MIN_WORD = 3
FIX = "let the hub make one: lockgate device add NAME --auth password --out DIR"

# Defaults of cameras, routers and boards that worms try (Mirai's list among them), and what people choose.
_KNOWN = frozenset(
    """
    password passwort passwd pass secret letmein welcome login hello iloveyou monkey dragon sunshine princess football
    admin administrator root user guest support service tech operator supervisor manager default changeme change
    test testing demo temp example public private system device sensor gateway mqtt mosquitto broker client iot thing
    lockgate home house office master super server camera router modem switch printer
    raspberry raspberrypi pi ubuntu debian arduino esp32 esp8266 espressif tasmota shelly sonoff nodemcu
    xc3511 vizxv juantech xmhdipc klv123 klv1234 hi3518 jvbzd anko zlxx zte521 hunt5759 ikwb dreambox realtek
    ubnt cisco huawei dlink netgear linksys tplink zyxel hikvision dahua foscam axis meinsm tlJwpbo6 oelinux123
    12345 123456 1234567 12345678 123456789 1234567890 54321 666666 888888 111111 000000 1111 0000 4321 7ujmko0
    qwerty qwertz qwertyuiop asdfgh asdfghjkl yxcvbn zxcvbn zxcvbnm 1qaz2wsx abc123 a1b2c3 qazwsx
    january february march april june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday spring summer autumn winter
    """.lower().split()
)
_LEET = str.maketrans("013457@$!|", "oieastasii")
_CLASSES = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
_OTHER_CHARACTERS = 33


def check_password(password: str, device: str, known: Iterable[str] = ()) -> None:
    """Come back when nobody will guess the password.

    Args:
        password: what was chosen. It is in no error.
        device: the device's name.
        known: what is remembered about it: its serial number, its place.

    Raises:
        InvalidSettings: saying why somebody would guess it.
    """
    plain = password.lower()
    own = [part.lower() for part in (device, *known) if len(part) >= MIN_WORD]
    if plain in _KNOWN or plain.translate(_LEET) in _KNOWN:
        raise InvalidSettings("that password is a default, or one of those that everybody tries first", fix=FIX)
    if any(plain in (word, word[::-1]) for word in own):
        raise InvalidSettings(
            f"the password of {device} is its name, or something else that is known about it", fix=FIX
        )
    if len(password) < MIN_CHARACTERS:
        raise InvalidSettings(f"a password has at least {MIN_CHARACTERS} characters, this one {len(password)}", fix=FIX)
    bits = guess_bits(password, own)
    if bits < MIN_BITS:
        raise InvalidSettings(
            f"the password of {device} would be guessed: without known words, names, repetition and sequences it has "
            f"about {bits:.0f} bits, and {MIN_BITS:.0f} are needed",
            fix=FIX,
        )


def guess_bits(password: str, known: Iterable[str] = ()) -> float:
    """Give about how many bits a guesser has to try, when known words, repetitions and sequences cost nothing."""
    rest = _without_words(password, {*_KNOWN, *known})
    characters = [
        character
        for index, character in enumerate(rest)
        if index == 0 or abs(ord(character) - ord(rest[index - 1])) > 1  # aaa, abc, 321
    ]
    pool = sum(len(each) for each in _CLASSES if any(character in each for character in characters))
    if any(all(character not in each for each in _CLASSES) for character in characters):
        pool += _OTHER_CHARACTERS
    # Of few different characters, few are the possibilities.
    return len(characters) * math.log2(max(1, min(pool, 4 * len(set(characters)))))


def _without_words(password: str, words: Iterable[str]) -> str:
    for word in sorted(words, key=len, reverse=True):
        if len(word) < MIN_WORD:
            continue
        for form in (word, word[::-1]):
            for leet in ({}, _LEET):
                plain = password.lower().translate(leet)
                place = plain.find(form)
                while place >= 0:
                    password = password[:place] + password[place + len(form) :]
                    plain = plain[:place] + plain[place + len(form) :]
                    place = plain.find(form)
    return password
