"""The top of the command line: commands of plugins at run time, and errors as sentences."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

from station.cli.boot import Boot
from station.errors import ConfigError, StartError, StationError, ValidationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["StationGroup"]


class StationGroup(click.Group):
    """A group whose commands are its own and, when the command line is read, those of the plugins.

    A configuration that is broken keeps nobody from ``--help``: the plugins that can be loaded are listed.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse bytes that are no text, which no store keeps (called by click)."""
        for place, argument in enumerate(args, start=1):
            try:
                argument.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"Argument {place} is not UTF-8: {argument!a}.", ctx) from None
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands (called by click)."""
        try:
            added = _boot(ctx).commands
        except StartError as error:
            _Failure(error).show()
            added = {}
        return sorted({*super().list_commands(ctx), *added})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command; the core's come first (called by click)."""
        return super().get_command(ctx, cmd_name) or _boot(ctx).commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command to run; an unknown one may be that of a plugin which could not be loaded."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            _ = _boot(ctx).config  # raises if the configuration is to blame
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of Station becomes a message (called by click)."""
        try:
            return super().invoke(ctx)
        except StationError as error:
            raise _ConfigFailure(error) if isinstance(error, ConfigError) else _Failure(error) from error


class _Failure(click.ClickException):
    """An error of Station, said in sentences."""

    def __init__(self, error: StationError) -> None:
        super().__init__(str(error))
        self.error = error

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message and one bullet for each problem."""
        problems: Sequence[str] = ()
        message = f"Error: {self.error}"
        if isinstance(self.error, ConfigError):
            message, problems = "The configuration is wrong:", self.error.problems
        elif isinstance(self.error, StartError) and len(self.error.problems) > 1:
            message, problems = "Station cannot start:", self.error.problems
        elif isinstance(self.error, ValidationFailed):
            problems = [f"{field}: {' '.join(texts)}" for field, texts in self.error.errors.items()]
        click.echo("\n".join([message, *(f"  - {problem}" for problem in problems)]), file=file, err=True)


class _ConfigFailure(_Failure):
    exit_code = 2


def _boot(ctx: click.Context) -> Boot:
    """The context's `Boot`, or one for ``--help``, which is answered before there is a context's."""
    if ctx.obj is None:
        ctx.obj = Boot(ctx.params.get("file"))
    boot: Boot = ctx.obj
    return boot
