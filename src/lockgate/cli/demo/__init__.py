"""`lockgate demo`: the main job in one go."""

from __future__ import annotations

import signal
import sys

import click

from lockgate.cli.demo.eavesdrop import compare
from lockgate.cli.demo.scene import Scene
from lockgate.cli.demo.screen import LiveScreen, PlainScreen
from lockgate.cli.output import console
from lockgate.errors import LockgateError


@click.group(invoke_without_command=True)
@click.option("--for", "seconds", type=click.FloatRange(min=1), metavar="SECONDS", help="End by itself after a while.")
@click.pass_context
def demo(context: click.Context, seconds: float | None) -> None:
    """Show the main job live: two devices, a hub, messages over TLS, and three intruders who are refused.

    Everything happens in a temporary home and is gone afterwards. Ctrl-C ends it.
    """
    if context.invoked_subcommand is not None:
        return
    _end_on_sigterm()
    screen = LiveScreen(console()) if sys.stdout.isatty() else PlainScreen(console())
    with Scene() as scene:
        try:
            screen.run(scene, seconds)
        except KeyboardInterrupt:
            screen.close()
        problem = scene.problem(is_short=seconds is None)
    if problem:
        raise LockgateError(problem)


@demo.command()
def eavesdrop() -> None:
    """Show what a listener on the wire reads: everything on the lab port, nothing on the TLS port."""
    _end_on_sigterm()
    compare(console())


def _end_on_sigterm() -> None:
    """Make SIGTERM end the demonstration as Ctrl-C does: with everything cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
