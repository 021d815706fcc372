"""`lockgate demo`: the main job in one go."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click

from lockgate.cli.demo.eavesdrop import compare
from lockgate.cli.demo.scene import Scene
from lockgate.cli.demo.screen import LiveScreen, PlainScreen
from lockgate.cli.output import Noun, console
from lockgate.errors import LockgateError
from lockgate.provision.token import parse_duration

WHOLE_SECONDS = 5.0
"""A demonstration of this length has shown everything once, or something is wrong."""


def _span(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Give the seconds in a number, or in a duration as other commands take it."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.isascii() and value.isdecimal() else float(parse_duration(value))
    except LockgateError as error:
        raise click.BadParameter(f"{error}: {error.fix}") from error
    if seconds < 1:
        raise click.BadParameter(f"{value} is less than a second")
    return seconds


@click.group(cls=Noun, invoke_without_command=True, short_help="Show the main job live: devices, messages, refusals.")
@click.option(
    "--for", "seconds", callback=_span, metavar="TIME", help="End by itself after a while: 30s, 2m; 10 is ten seconds."
)
@click.pass_context
def demo(context: click.Context, seconds: float | None) -> None:
    """Show the main job live: two devices, a hub, messages over TLS, and three intruders who are refused.

    Everything happens in a temporary home and is gone afterwards. Ctrl-C ends it.
    """
    if context.invoked_subcommand is not None:
        return
    _end_on_signals()
    screen = LiveScreen(console()) if sys.stdout.isatty() else PlainScreen(console())
    problem = ""
    try:
        with Scene() as scene:
            try:
                screen.run(scene, seconds)
                problem = scene.problem(is_short=seconds is None or seconds < WHOLE_SECONDS)
            except KeyboardInterrupt:
                screen.close()
                problem = scene.problem(is_short=True)
    except KeyboardInterrupt:  # while the stage was being set: nothing was shown yet
        screen.close()
    if problem:
        raise LockgateError(problem)


@demo.command()
def eavesdrop() -> None:
    """Show what a listener on the wire reads: everything on the lab port, nothing on the TLS port."""
    _end_on_signals()
    compare(console())


def _end_on_signals() -> None:
    """Make SIGTERM end the demonstration as Ctrl-C does; once it ends, neither disturbs the tidying up."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, end)
