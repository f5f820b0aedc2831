"""``station conformance``: the wire rules, row by row, against any running server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from plugins.oauth_m2m.commands.progress import RowProgress
from plugins.oauth_m2m.conformance import CannotRun, Client, Examination, Listener, examine, read_rows, select
from plugins.oauth_m2m.conformance.report import as_json as json_report
from plugins.oauth_m2m.conformance.report import print_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.oauth_m2m.conformance import Result
    from plugins.oauth_m2m.conformance.rows import Row

__all__ = ["conformance"]

ADMIN_KEY = "STATION_CONFORMANCE_ADMIN_KEY"
CLIENT_SECRET = "STATION_CONFORMANCE_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_INTERRUPTED = 130

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


class _CannotRun(click.ClickException):
    exit_code = 2


@click.command()
@click.argument("url")
@click.option("--admin-key-file", type=_file, help=f"The file with Station's admin key; or ${ADMIN_KEY}.")
@click.option("--client-id", metavar="ID", help="Without admin access: the one client to ask with.")
@click.option("--client-secret-file", type=_file, help=f"The file with its secret; or ${CLIENT_SECRET}.")
@click.option("--only", multiple=True, metavar="ROWS", help="Tables or rows, such as C or C7,T; repeatable.")
@click.option("--scope", "scopes", multiple=True, help="A scope that the clients may have; repeatable.")
@click.option("--flood", is_flag=True, help="Also check rows that make the server throttle this address.")
@click.option("--token-endpoint", metavar="URL", help="Where the server does not say, or says it wrong.")
@click.option("--revocation-endpoint", metavar="URL", help="The same of revocation (RFC 7009).")
@click.option("--introspection-endpoint", metavar="URL", help="The same of introspection (RFC 7662).")
@click.option("--jwks-uri", metavar="URL", help="The same of the keys of tokens (RFC 7517).")
@click.option("--resource", metavar="URL", help="A GET that any token opens; Station has /auth/client.")
@click.option("--scoped-resource", metavar="URL", help="A GET that demands a scope the clients do not have.")
@click.option("--ca-file", type=_file, help="Trust this certificate authority as well.")
@click.option("--patience", default=180.0, show_default=True, help="Seconds to wait for throttles in all.")
@click.option("--timeout", default=900.0, show_default=True, help="Seconds for the whole run.")
@click.option("--verbose", "-v", is_flag=True, help="Print every statement, and what of it nobody can see.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def conformance(
    url: str,
    admin_key_file: Path | None,
    client_id: str | None,
    client_secret_file: Path | None,
    only: Sequence[str],
    scopes: Sequence[str],
    flood: bool,
    ca_file: Path | None,
    patience: float,
    timeout: float,
    verbose: bool,
    as_json: bool,
    **endpoints: str | None,
) -> None:
    """Check the server at URL against the wire rules of OAuth 2.0 for machines, row by row.

    With Station's admin key it registers clients of its own, conformance-..., and deletes them in the end.
    Without, it asks with one client, and rows that need more are skipped. Any other server can be asked too.
    Exit code 0: no row failed; 1: some did; 2: nothing could be checked.
    """
    admin_key = _read(admin_key_file, ADMIN_KEY)
    asked = Examination(
        url=_checked(url),
        rows=_selected(only),
        admin_key=admin_key,
        client=None if admin_key else _client(client_id, client_secret_file),
        scopes=tuple(scopes),
        endpoints={_SHORT.get(name, name): value and _checked(value) for name, value in endpoints.items()},
        ca_file=_trusted(ca_file),
        flood=flood,
        patience=patience,
        seconds=timeout,
    )
    started, left = time.monotonic(), list[str]()
    results = _examine(asked, left)
    seconds = time.monotonic() - started
    if as_json:
        click.echo(json_report(asked.url, results, seconds=seconds, left=left))
    else:
        print_report(asked.url, results, seconds=seconds, verbose=verbose)
    if any(result.fate == "failed" for result in results):
        raise SystemExit(1)


_SHORT = {
    "token_endpoint": "token",
    "revocation_endpoint": "revocation",
    "introspection_endpoint": "introspection",
    "jwks_uri": "jwks",
}


def _examine(asked: Examination, left: list[str]) -> list[Result]:
    """Run it; Ctrl-C, SIGTERM and a terminal that closes end it after what was registered is deleted."""
    with RowProgress(len(asked.rows)) as progress:

        def leaves(clients: Sequence[str]) -> None:
            left.extend(clients)
            if clients:
                progress.say(f"Not deleted, so do it by station oauth-clients delete: {' '.join(clients)}")

        async def work() -> list[Result]:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - this runs in one
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    asyncio.get_running_loop().add_signal_handler(number, task.cancel)
            return await examine(asked, Listener(progress.begin, progress.wait, progress.clean, leaves))

        try:
            return asyncio.run(work())
        except CannotRun as error:
            raise _CannotRun(str(error)) from error
        except (asyncio.CancelledError, KeyboardInterrupt):
            kept = "" if left else " Every client that was registered is deleted."
            progress.say(f"Interrupted.{kept}")
            raise SystemExit(_INTERRUPTED) from None


def _selected(only: Sequence[str]) -> list[Row]:
    try:
        return select(read_rows(), only)
    except ValueError as error:
        raise click.BadParameter(f"{error}; docs/protocol.md lists them.", param_hint="--only") from None


def _read(file: Path | None, variable: str) -> str | None:
    """A secret from a file, or else from the environment; surrounding white space is none of it."""
    if file is None:
        return os.environ.get(variable, "").strip() or None
    secret = file.read_text(encoding="utf-8", errors="replace").strip()
    if not secret or not secret.isascii() or not secret.isprintable():
        raise click.BadParameter(f"{file} holds no secret: one line of ASCII is expected.")
    return secret


def _client(client_id: str | None, file: Path | None) -> Client:
    if client_id is None:
        raise click.UsageError(
            "Give --admin-key-file for a Station that you run, or else --client-id and --client-secret-file."
        )
    secret = _read(file, CLIENT_SECRET)
    if secret is None:
        raise click.UsageError(f"Give the client's secret by --client-secret-file, or in ${CLIENT_SECRET}.")
    return Client(client_id, secret)


def _checked(url: str) -> str:
    """The URL as it can be asked: http or https, a host, nothing that is secret or lost."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise click.BadParameter(f"{url!r} is not a URL such as https://station.example.")
    if parts.username or parts.fragment:
        raise click.BadParameter("A URL here has neither credentials nor a fragment.")
    return url


def _trusted(ca_file: Path | None) -> Path | None:
    if ca_file is not None:
        try:
            ssl.create_default_context().load_verify_locations(ca_file)
        except (ssl.SSLError, OSError):
            raise click.BadParameter(
                f"{ca_file} holds no certificates (PEM).", param_hint="--ca-file"
            ) from None
    return ca_file
