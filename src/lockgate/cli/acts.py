"""What commands that change the registry share: a registrar for the home, and acts on one or more names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lockgate.ca.desk import publish_revoked
from lockgate.cli.output import actor, console, home_option, json_option, print_json, safe
from lockgate.errors import LockgateError
from lockgate.home import Home
from lockgate.registry.registrar import Registrar
from lockgate.revocation import settle_without_hub


@contextmanager
def registrar_of(home: Path) -> Iterator[Registrar]:
    """Open the registry of a home for whoever runs this command; certificates that are revoked then are published."""
    opened = Home.open(home)
    with opened.registry() as registry:
        yield Registrar(registry, actor(), limits=opened.settings().registry)
        try:
            publish_revoked(opened, registry, actor(), time.time())
        except LockgateError as error:  # what was revoked is revoked already, whatever comes of the list
            click.echo(f"warning: no new revocation list was made: {error}", err=True)


def add_act(
    group: click.Group, noun: str, name: str, help_text: str, done: str, act: Callable[[Registrar, str], object],
    is_final: bool = False,
) -> None:  # fmt: skip
    """Give a group of commands one that does the same to each of the names it is given.

    What is final leaves nothing behind, also where no hub runs that would see to it.
    """

    @group.command(name=name, help=help_text)
    @click.argument("names", metavar=f"{'NAME' if noun == 'device' else noun.upper()}...", nargs=-1, required=True)
    @home_option
    @json_option
    def command(names: tuple[str, ...], home: Path, as_json: bool) -> None:
        with registrar_of(home) as registrar:
            for each in names:
                act(registrar, each)
                if not as_json:
                    console().print(f"[green]{done}[/] {safe(each)}")
        if is_final:
            settle_without_hub(Home.open(home))
        if as_json:
            print_json([{noun: each, "done": done} for each in names])


def add_pair_act(
    group: click.Group, nouns: tuple[str, str], name: str, help_text: str, done: str, said: str,
    act: Callable[[Registrar, str, str], object],
) -> None:  # fmt: skip
    """Give a group of commands one that does something between its first name and each of the others.

    `done` is the word for programs, `said` the sentence for people: "joined {each} to {first}".
    """

    @group.command(name=name, help=help_text)
    @click.argument("first", metavar=nouns[0].upper())
    @click.argument("names", metavar=f"{nouns[1].upper()}...", nargs=-1, required=True)
    @home_option
    @json_option
    def command(first: str, names: tuple[str, ...], home: Path, as_json: bool) -> None:
        with registrar_of(home) as registrar:
            for each in names:
                act(registrar, first, each)
                if not as_json:
                    console().print(f"[green]{said.format(each=safe(each), first=safe(first))}[/]")
        if as_json:
            print_json([{nouns[0]: first, nouns[1]: each, "done": done} for each in names])
