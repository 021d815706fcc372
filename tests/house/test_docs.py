"""The words around the product: reachable, complete, and true where a program can tell."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from lockgate.errors import LockgateError
from lockgate.events import Event
from lockgate.settings import Settings

reference = importlib.import_module("docs.reference")  # beside it stands a folder of that name, which mypy would take
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
TEXTS = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted((ROOT / "examples").rglob("*.md")), ROOT / "bench" / "README.md"]

CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?<![\w./-])lockgate ([a-z][^\n|&;)\"`]*)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# Reachable


def children(page: Path) -> Iterator[Path]:
    for tree in TOCTREE.findall(read(page)):
        for line in tree.splitlines():
            if line and not line.startswith(":"):
                yield from sorted(page.parent.glob(f"{line}.md"))


def test_every_page_is_reachable_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            waiting.extend(children(page))
    assert seen == set(PAGES)


def test_the_readme_counts_the_checks_of_the_scan_as_the_reference_does() -> None:
    counts = [re.findall(r"(\d+) checks", read(page)) for page in (ROOT / "README.md", DOCS / "reference" / "scan.md")]
    assert counts[0][:1] == counts[1][:1] != []


def test_no_two_decisions_have_one_number() -> None:
    numbers = [page.name[:4] for page in (DOCS / "adr").glob("0*.md")]
    assert len(numbers) == len(set(numbers))
    assert all(read(page).startswith(f"# {page.name[:4]}: ") for page in (DOCS / "adr").glob("0*.md"))


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(CODE.sub("", read(path))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(linked), f"{target}: no such heading"


def anchors(path: Path) -> set[str]:
    """Give the anchors of a page's headings, as Markdown readers make them."""
    headings = re.findall(r"^#+ (.+)$", read(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# Complete


def test_reference_is_what_the_code_says() -> None:
    assert [name_of(path) for path in reference.outdated()] == [], "run: python -m docs.reference"


def test_every_setting_is_in_the_reference_with_its_meaning() -> None:
    page = read(DOCS / "reference" / "settings.md")
    for section in msgspec.structs.fields(Settings):
        assert f"## `[{section.name}]`" in page
        for field in msgspec.structs.fields(section.type):
            assert re.search(rf"^\| `{field.name}` \| [^|]+ \| `[^|]+` \| [^|]+\. \|$", page, re.MULTILINE), field.name


def test_every_command_is_in_the_reference() -> None:
    page = read(DOCS / "reference" / "cli.md")
    commands = [context.command_path for context in reference.walk(reference.root())]
    assert len(commands) > 20
    assert [path for path in commands if f"## `{path}`\n" not in page] == []


def test_every_event_and_every_error_is_in_the_reference() -> None:
    events, errors = read(DOCS / "reference" / "events.md"), read(DOCS / "reference" / "errors.md")
    assert [event for event in Event if f"`{event.value}`" not in events] == []
    ours = [kind for kind in LockgateError.__subclasses__() if kind.__module__ == "lockgate.errors"]
    assert [kind for kind in ours if errors.count(f"| `{kind.__name__}` |") != 4] == []


# True


def commands_in(text: str) -> Iterator[str]:
    for code in CODE.findall(text):
        for line in code.splitlines():
            yield from COMMAND.findall(line)


def problem_with(line: str) -> str:
    """Say what is wrong with what follows `lockgate` on a line, "" when such a command and its options exist."""
    context = reference.root()
    words = line.split()
    while words and isinstance(context.command, click.Group):
        child = context.command.get_command(context, words[0])
        if child is None:
            has_own_work = context.command.invoke_without_command or words[0].startswith("-")
            return "" if has_own_work else f"lockgate {line}: no such command"
        context = click.Context(child, info_name=words.pop(0), parent=context)
    known = {name for option in context.command.get_params(context) for name in (*option.opts, *option.secondary_opts)}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"lockgate {line}: no such option as {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("path", [p for p in TEXTS if p != DOCS / "reference" / "cli.md"], ids=name_of)
def test_every_command_that_a_page_names_exists(path: Path) -> None:
    assert [problem for line in commands_in(read(path)) if (problem := problem_with(line))] == []


def texts_of(source: Path) -> Iterator[str]:
    """Give the strings of a module, with a word in place of what is filled in."""
    for node in ast.walk(ast.parse(read(source))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "WORD" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_command_that_an_error_advises_exists() -> None:
    advised = [
        line
        for source in sorted((ROOT / "src" / "lockgate").rglob("*.py"))
        for text in texts_of(source)
        for line in re.findall(r"(?:^|[(`]|: )lockgate (?!root CA|issuing CA|hub$)([a-z-]+(?: [^\n`,;)]*)?)", text)
        if "--WORD" not in line
    ]
    assert len(advised) > 20
    assert [problem for line in advised if (problem := problem_with(line))] == []


def test_readme_map_names_the_rooms_that_exist_and_no_other() -> None:
    tree = re.search(r"^```text\nsrc/lockgate/\n(.*?)^```", read(ROOT / "README.md"), re.MULTILINE | re.DOTALL)
    assert tree is not None
    source = ROOT / "src" / "lockgate"
    rooms = {line.split()[0].rstrip("/").partition("/")[0] for line in tree[1].splitlines() if line.startswith("  ")}
    there = {path.name for path in source.iterdir() if (path / "__init__.py").exists()}
    there |= {path.name for path in source.glob("*.py") if not path.name.startswith("__")}
    assert rooms == there
    for line in tree[1].splitlines():
        base = source if line.startswith("  ") else ROOT
        assert (base / line.split()[0]).exists(), line


def test_readme_begins_with_the_two_commands_and_keeps_a_place_for_the_bench() -> None:
    text = read(ROOT / "README.md")
    first, second = re.findall(r"^```sh\n(.*?)\n```", text, re.MULTILINE | re.DOTALL)[:2]
    assert (first, second) == ("make up", "make test")
    assert text.count("<!-- bench:start -->\n") == text.count("<!-- bench:end -->\n") == 1
    assert text.index("<!-- bench:start -->") < text.index("<!-- bench:end -->")


def test_nothing_that_people_read_tells_them_to_be_insecure() -> None:
    for path in TEXTS:
        assert "--insecure" not in read(path), name_of(path)
