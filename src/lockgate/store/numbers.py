"""Numbers that are never given twice, however a process ends.

A file holds a number that none given so far has reached. It is written once for many: who is killed leaves a gap, and
begins behind it. And no number is lower than the clock's: where the file is lost, or an old one comes back (a restored
backup), the numbers go on from where the time is.

Source: RFC 8613 appendix B.1.1 (sequence numbers in steps).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from lockgate.errors import InvalidSettings, Unavailable

STEP: Final = 1 << 16
MAX_NUMBER: Final = (1 << 40) - 1
"""The largest sender sequence number of OSCORE (RFC 8613 section 7.2.1: AES-CCM-16-64-128)."""
EPOCH_UNIX_SECONDS: Final = 1_767_225_600
"""2026-01-01."""
NUMBERS_PER_SECOND: Final = 256
"""How fast the lowest possible number grows: the clock alone uses them up in 136 years."""


@final
class Numbers:
    """Gives numbers, each higher than all before it.

    Args:
        path: the file.
        write: writes it, whole or not at all, so that it outlasts a power cut.
        wall_clock: gives unix seconds.

    Raises:
        InvalidSettings: the file is there, and cannot be read.
    """

    def __init__(self, path: Path, write: Callable[[Path, bytes], None], wall_clock: Callable[[], float]) -> None:
        self._path = path
        self._write = write
        lowest = int((wall_clock() - EPOCH_UNIX_SECONDS) * NUMBERS_PER_SECOND)
        self._next = self._end = max(lowest, _read(path), 0)

    def take(self) -> int:
        """Give the next number.

        Raises:
            Unavailable: there are none left, or the file cannot be written.
        """
        if self._next >= self._end:
            self._reserve()
        self._next += 1
        return self._next - 1

    def _reserve(self) -> None:
        end = min(self._end + STEP, MAX_NUMBER + 1)
        if end == self._end:
            raise Unavailable(
                "the numbers of OSCORE messages are used up", fix="make a new home, with new keys for its devices"
            )
        try:
            self._write(self._path, f"{end}\n".encode())
        except OSError as error:
            raise Unavailable(
                f"{self._path} cannot be written: {error.strerror}", fix="free space on the disk, or repair the home"
            ) from error
        self._end = end


def _read(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise InvalidSettings(
            f"{path} cannot be read as the number that it should hold",
            fix="if the machine's clock is right, remove it: the numbers then go on from the time",
        ) from error
