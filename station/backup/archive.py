"""The file of a backup: gzip'd lines of JSON.

::

    {"header": {"format": "station-backup", "version": 1, "station": "0.1.0", "made_at": "...", ...}}
    {"collection": "oauth_clients", "made_as": {"options": {}, "indexes": [...]}}
    {"document": {"_id": {"$oid": "..."}, "client_id": "station-bot", ...}}
    ...
    {"end": {"counts": {"oauth_clients": 1, ...}, "sha256": "..."}}

What is MongoDB's, in ``made_as`` and ``document``, is Extended JSON; only `station.backup.stores` reads it.
The sum is that of all bytes before the last line. It finds damage, not forgery: whoever writes the file can
write the sum, too.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO

from station.errors import StationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ArchiveWriter", "BackupError", "Entry", "Header", "read_archive"]

_FORMAT = "station-backup"
_VERSION = 1


class BackupError(StationError):
    """A backup cannot be made or restored; the message says why, and what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """What a backup says of itself: which ``station`` made it, when (ISO 8601), and of what."""

    station: str
    made_at: str
    database: str
    migrations: tuple[str, ...]
    audit: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A line about ``collection``: a document of it, or before those how it was made."""

    collection: str
    line: str
    is_document: bool


class ArchiveWriter:
    """Writes an archive into ``file``; `close` makes it whole."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.counts: Counter[str] = Counter()
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", filename="", compresslevel=6)
        self._sum = hashlib.sha256()
        self._collection = ""
        about = {"format": _FORMAT, "version": _VERSION, **dataclasses.asdict(header)}
        self._write(json.dumps({"header": about}))

    def begin(self, collection: str, made_as: str) -> None:
        """Let documents of this collection follow."""
        self._collection = collection
        self.counts[collection] = 0
        self._write(f'{{"collection": {json.dumps(collection)}, "made_as": {made_as}}}')

    def add(self, document: str) -> None:
        """Write a document of the collection."""
        self._write(f'{{"document": {document}}}')
        self.counts[self._collection] += 1

    def close(self) -> None:
        """Write the end."""
        end = {"counts": dict(self.counts), "sha256": self._sum.hexdigest()}
        self._write(json.dumps({"end": end}))
        self._gzip.close()

    def _write(self, line: str) -> None:
        text = line.encode() + b"\n"
        self._sum.update(text)
        self._gzip.write(text)


def read_archive(file: BinaryIO) -> Iterator[Header | Entry]:
    """The header, then every entry in order; `BackupError` for what is none, was cut short or is damaged.

    Only when it ends without one is it known that the file is whole.
    """
    sha256, counts, collection = hashlib.sha256(), Counter[str](), ""
    lines = _lines(file)
    first = next(lines, b"")
    yield _header(first)
    sha256.update(first)
    for line in lines:
        match _kind(line):
            case "document" if collection:
                counts[collection] += 1
                yield Entry(collection, line.decode(), is_document=True)
            case "collection":
                collection = str(_parsed(line)["collection"])
                counts[collection] = 0
                yield Entry(collection, line.decode(), is_document=False)
            case "end":
                if _parsed(line)["end"] != {"counts": dict(counts), "sha256": sha256.hexdigest()}:
                    raise _damaged("its checksum is another")
                if next(lines, None) is not None:
                    raise _damaged("something follows its end")
                return
            case _:
                raise _damaged("a line is none of a backup's")
        sha256.update(line)
    raise _damaged("it was cut short")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as text:
            yield from text
    except gzip.BadGzipFile as error:
        raise _damaged("it is no gzip file, or a part of it was changed") from error
    except (EOFError, zlib.error) as error:
        raise _damaged("it was cut short, or a part of it was changed") from error


def _kind(line: bytes) -> str:
    """The first key of a line's object."""
    return line[2 : line.find(b'"', 2)].decode(errors="replace") if line.startswith(b'{"') else ""


def _header(line: bytes) -> Header:
    about = _parsed(line).get("header")
    if not isinstance(about, dict) or about.pop("format", None) != _FORMAT:
        raise BackupError("This is no backup of Station: `station backup FILE` makes one.")
    if about.pop("version", None) != _VERSION:
        raise BackupError("This backup was made by a newer Station: restore it with that one.")
    try:
        return Header(**{**about, "migrations": tuple(about["migrations"])})
    except (KeyError, TypeError) as error:
        raise _damaged("its header is incomplete") from error


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise _damaged("a line is no JSON") from error
    return document if isinstance(document, dict) else {}


def _damaged(how: str) -> BackupError:
    return BackupError(f"The backup is damaged ({how}); nothing was changed. Take another one.")
