"""Many devices from one table: read, judged as a whole, and made batch by batch, each batch whole or not at all.

The table is a CSV file with a header. Columns: `name`, and as wanted `auth`, `groups` (several with `;` between),
`public_key`, `csr`, `certificate` and `psk` (files, seen from the table's folder), and `metadata.KEY` for each thing to
be remembered. Every problem is told with the number of its line before anything is made.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from lockgate.errors import Conflict, InvalidSettings, LockgateError, in_words
from lockgate.model.device import CredentialKind, check_name
from lockgate.pki.certificates import spki_thumbprint
from lockgate.provision.bundle import Given, NewCredential, requested_key
from lockgate.registry.registrar import OWN_KEY, Draft, Registrar

BATCH_DEVICES = 200
MAX_TABLE_BYTES = 256 * 1024 * 1024
MAX_KEY_FILE_BYTES = 65_536
SHOWN_PROBLEMS = 10
COLUMNS = ("name", "auth", "groups", "public_key", "csr", "certificate", "psk")
METADATA = "metadata."


class Line(msgspec.Struct, frozen=True):
    """One device of a table; `number` is its line in the file."""

    number: int
    name: str
    kind: CredentialKind
    groups: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    given: Given = Given()


class Done(msgspec.Struct, frozen=True):
    """How many devices of a table were made, and how many had been registered before."""

    added: int
    skipped: int


def read_table(path: Path, default_kind: CredentialKind) -> list[Line]:
    """Give the devices of a table.

    Raises:
        InvalidSettings: naming each line that cannot be read.
    """
    problems: list[tuple[int, LockgateError]] = []
    lines: list[Line] = []
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise InvalidSettings(f"{path} is larger than {MAX_TABLE_BYTES} bytes", fix="split it")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(reader.fieldnames, path)
            for row in reader:
                try:
                    lines.append(_line(row, reader.line_num, path.parent, default_kind))
                except LockgateError as error:
                    problems.append((reader.line_num, error))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidSettings(
            f"{path} cannot be read: {in_words(error)}", fix="write it as CSV in UTF-8, with a header"
        ) from error
    _refuse(path, problems)
    return lines


def add_many(
    table: Path,
    lines: Sequence[Line],
    out: Path,
    registrar: Registrar,
    make: Callable[[Line, Path], NewCredential],
    *,
    look_over: Callable[[Line], object] = lambda _line: None,
    skip_registered: bool = False,
    on_added: Callable[[int], None] | None = None,
) -> Done:
    """Make a folder under `out` for each device, and register them.

    Args:
        table: the file, for what is told.
        lines: its devices.
        out: the folder of the folders.
        registrar: who registers.
        make: makes one device's folder, without waiting for the disk.
        look_over: raises when a line brings what would not be believed.
        skip_registered: leave out those whose names are registered: go on where a run before ended.
        on_added: hears how many more are registered, batch by batch.

    Raises:
        InvalidSettings: naming each line that cannot be registered; nothing was made.
        LockgateError: in the middle; batches before this one stay.
    """
    known = registrar.known([line.name for line in lines]) if skip_registered else set()
    new = [line for line in lines if line.name not in known]
    _check_all(table, new, out, registrar, look_over)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    for batch in _batches(new):
        _add_batch(batch, out, registrar, make)
        if on_added is not None:
            on_added(len(batch))
    return Done(len(new), len(lines) - len(new))


def _check_all(
    table: Path, lines: Sequence[Line], out: Path, registrar: Registrar, look_over: Callable[[Line], object]
) -> None:
    problems = dict(registrar.problems([_draft(line) for line in lines]))
    for index, line in enumerate(lines):
        try:
            look_over(line)
        except LockgateError as error:
            problems.setdefault(index, error)
    _check_requests(lines, registrar, problems)
    for index, line in enumerate(lines):
        if index not in problems and (out / line.name).exists():
            problems[index] = InvalidSettings(
                f"the folder {out / line.name} is there already", fix="choose another --out"
            )
    _refuse(table, [(lines[index].number, problem) for index, problem in sorted(problems.items())])


def _check_requests(lines: Sequence[Line], registrar: Registrar, problems: dict[int, LockgateError]) -> None:
    """Look over the keys that shall get a certificate: once it is signed, refusing the key would come too late."""
    known: set[str] = set()
    for index, line in enumerate(lines):
        if index in problems or not line.given.request:
            continue
        try:
            key = requested_key(line.given.request)
            registrar.check_key(line.name, key)
            if (thumbprint := spki_thumbprint(key)) in known:
                raise Conflict(f"the key of {line.name} is another line's as well", fix=OWN_KEY)
            known.add(thumbprint)
        except LockgateError as error:
            problems[index] = error


def _add_batch(
    batch: Sequence[Line], out: Path, registrar: Registrar, make: Callable[[Line, Path], NewCredential]
) -> None:
    try:
        drafts = [_draft(line, make(line, out / line.name)) for line in batch]
        os.sync()  # once for all: no device is registered whose secret a power cut could take
        registrar.add_devices(drafts)
    except BaseException:
        for line in batch:
            shutil.rmtree(out / line.name, ignore_errors=True)
        raise


def _draft(line: Line, credential: NewCredential | None = None) -> Draft:
    known: tuple[NewCredential, ...] = (credential,) if credential is not None else ()
    if credential is None and (brought := line.given.public or line.given.certificate):
        known = (NewCredential(line.kind, brought),)
    if credential is None and line.given.psk:
        known = (NewCredential(line.kind, f"{line.name}:{line.given.psk}"),)
    return Draft(line.name, known, line.groups, line.metadata)


def _batches(lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    for start in range(0, len(lines), BATCH_DEVICES):
        yield lines[start : start + BATCH_DEVICES]


def _check_header(names: Sequence[str] | None, path: Path) -> None:
    known = f"the columns are {', '.join(COLUMNS)} and {METADATA}KEY"
    if not names or "name" not in names:
        raise InvalidSettings(f"{path} has no header with a column `name`", fix=known)
    for name in names:
        if name not in COLUMNS and not name.startswith(METADATA):
            raise InvalidSettings(f"{path} has a column {name!r} that is not known", fix=known)
    if len(set(names)) != len(names):
        raise InvalidSettings(f"{path} has a column twice", fix=known)


def _line(row: dict[str | None, str | None], number: int, folder: Path, default_kind: CredentialKind) -> Line:
    if None in row or None in row.values():
        raise InvalidSettings("this line has more or fewer fields than the header", fix="quote fields that hold commas")
    fields = {str(name): str(value).strip() for name, value in row.items()}
    kind = fields.get("auth") or default_kind.value
    if kind == CredentialKind.NOSEC:
        raise InvalidSettings(
            "a device without any protection is never made by a table",
            fix="lockgate device add --auth nosec, for each by itself",
        )
    if kind not in tuple(CredentialKind):
        raise InvalidSettings(f"{kind!r} is no way to prove oneself", fix=f"auth is {', '.join(CredentialKind)}")
    request = _read(folder, fields.get("csr", ""))
    if request:
        requested_key(request)
    public = _read(folder, fields.get("public_key", ""))
    certificate = _read(folder, fields.get("certificate", ""))
    psk = _read(folder, fields.get("psk", "")).strip()
    fits_key = kind.startswith("jwt-") or kind == CredentialKind.RPK
    if (
        (bool(request or certificate) and kind != CredentialKind.X509)
        or (bool(public) and not fits_key)
        or (bool(psk) and kind != CredentialKind.PSK)
    ):
        raise InvalidSettings(
            f"{kind} does not go with that file",
            fix="csr and certificate are for x509, public_key for jwt-* and rpk, psk for psk",
        )
    return Line(
        number,
        check_name(fields["name"]),
        CredentialKind(kind),
        tuple(group.strip() for group in fields.get("groups", "").split(";") if group.strip()),
        {name[len(METADATA) :]: value for name, value in fields.items() if name.startswith(METADATA) and value},
        Given(public, request, certificate=certificate, psk=psk),
    )


def _read(folder: Path, name: str) -> str:
    if not name:
        return ""
    path = folder / name
    try:
        if path.stat().st_size > MAX_KEY_FILE_BYTES:
            raise InvalidSettings(f"{path} is too large for a key", fix="name a PEM file")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} cannot be read: {in_words(error)}", fix="name a PEM file") from error


def _refuse(path: Path, problems: Sequence[tuple[int, LockgateError]]) -> None:
    if not problems:
        return
    shown = [f"line {number}: {problem}" for number, problem in problems[:SHOWN_PROBLEMS]]
    more = f"; and {len(problems) - SHOWN_PROBLEMS} lines more" if len(problems) > SHOWN_PROBLEMS else ""
    raise InvalidSettings(
        f"{path}: {'; '.join(shown)}{more}; nothing was made",
        fix=problems[0][1].fix or "correct these lines and try again",
    )
