"""Files that hold secrets: made once, readable by their owner alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from station.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["keep_secret", "private_directory", "private_file"]

_SECRET_LENGTH = 32


def private_directory(path: Path) -> Path:
    """Make the directory if it is missing, with mode 0700, and return it; raises `ConfigError`."""
    with _reported():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def keep_secret(path: Path) -> str:
    """Return the secret kept in ``path``; the first caller makes it: 256 random bits, URL-safe, mode 0600.

    Two processes that start together end with the same secret: the file appears whole, by a hard link.
    Raises `ConfigError` where it can be neither read nor made, or was cut short.
    """
    private_directory(path.parent)
    with _reported():
        if not path.exists():
            _make_secret(path)
        secret = path.read_text(encoding="ascii", errors="replace").strip()
    if len(secret) < _SECRET_LENGTH:
        demand = f"must hold at least {_SECRET_LENGTH} characters"
        raise ConfigError([f"{path} {demand}; remove it and Station makes a new one."])
    return secret


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file of mode 0600, which appears whole when the block ends, and not at all if that fails.

    A file that was there stays until then. Raises `OSError`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # the name as well
    finally:
        os.close(directory)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        demand = "must be a directory that Station may read and write"
        raise ConfigError([f"STATION_DATA_DIR {demand}: {error.filename}: {error.strerror}."]) from error


def _make_secret(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
