"""BackupService: the rules of making a backup and of restoring one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from station import __version__
from station.backup.archive import ArchiveWriter, BackupError, Entry, Header, read_archive
from station.backup.stores import AUDIT, MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from station.backup.rules import BackupRules
    from station.backup.stores import DatabaseStore
    from station.resources import Resources

__all__ = ["BackupService", "Contents", "Progress"]

Progress = Callable[[str, int], None]
"""Is told a collection, and how many documents of it are done."""

_BATCH = 500
_FEW = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds: its header, and how many documents of each collection."""

    header: Header
    counts: Mapping[str, int]


class BackupService:
    """Backups of one database; ``rules`` are those of all plugins, ``migrations`` the names of all they have.

    Every method raises `BackupError`. Files are read and written on the event loop: nothing else runs then.
    """

    def __init__(
        self, database: DatabaseStore, *, rules: Sequence[BackupRules], migrations: Sequence[str]
    ) -> None:
        self._database = database
        self._migrations = tuple(migrations)
        self._endings = {name: end for own in rules for name, end in own.endings.items()}
        self._problems = {name: check for own in rules for name, check in own.problems.items()}
        self._serving = [own.serving for own in rules if own.serving is not None]

    async def make(self, file: BinaryIO, *, audit: bool, progress: Progress) -> Contents:
        """Write all that is in the database into ``file``, the audit if it is wanted."""
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        async with self._database.one_moment():
            applied = await self._database.applied_migrations()
            if not applied:
                raise BackupError(f"The database {self._database.name} holds nothing of Station's.")
            header = Header(__version__, made_at, self._database.name, applied, audit)
            archive = ArchiveWriter(file, header)
            for name in self._in_order(await self._database.collections()):
                archive.begin(name, await self._database.made_as(name))
                progress(name, 0)
                if name == AUDIT and not audit:
                    continue  # its indexes are there all the same
                async for document in self._database.documents(name):
                    archive.add(document)
                    progress(name, archive.counts[name])
            archive.close()
        return Contents(header, dict(archive.counts))

    def check(self, file: BinaryIO, *, left_out: Collection[str] = ()) -> Contents:
        """Read a backup to its end, and return what would be restored.

        Raises with everything that keeps it from being restored here.
        """
        header, counts, problems = None, Counter[str](), list[str]()
        for entry in _rewound(file):
            if isinstance(entry, Header):
                header = entry
                problems += self._unknown(header)
                continue
            counts[entry.collection] += entry.is_document and entry.collection not in left_out
            check = self._problems.get(entry.collection)
            if entry.is_document and entry.collection not in left_out:
                document = self._database.parse(entry)
                problems += check(document) if check else ()
        if unknown := sorted(set(left_out) - counts.keys()):
            problems.append(f"The backup holds no {', '.join(unknown)} that could be left out.")
        if problems:
            raise BackupError("\n".join(problems))
        assert header is not None  # noqa: S101 - `read_archive` gives it first
        return Contents(header, dict(counts))

    async def refuse_while_serving(self, resources: Resources) -> None:
        """`BackupError` while a process serves: it would go on with what it has in memory."""
        for serving in self._serving:
            if count := await serving(resources):
                are = "1 process serves" if count == 1 else f"{count} processes serve"
                raise BackupError(f"{are} on these stores: stop every Station first.")

    async def would_lose(self) -> dict[str, int]:
        """What a restore replaces: how many documents of each collection."""
        counts = await self._database.counts()
        return {name: number for name, number in counts.items() if name not in {AUDIT, MIGRATIONS}}

    async def restore(
        self,
        file: BinaryIO,
        contents: Contents,
        *,
        keep_tokens: bool,
        left_out: Collection[str] = (),
        progress: Progress,
    ) -> None:
        """Put what was checked in the place of what is there; the audit is added to.

        Everything is loaded beside what is there first: until all of it is there, nothing has changed.
        """
        await self._database.clean_up()
        endings = {} if keep_tokens else self._endings
        staged: list[str] = []
        done = Counter[str]()
        for entries in _batches(file, left_out):
            first, name = entries[0], entries[0].collection
            progress(name, done[name])
            if not first.is_document:
                await self._database.stage(first)
                staged.append(name)
                continue
            documents = [self._database.parse(entry) for entry in entries]
            if end := endings.get(name):
                documents = [end(document) for document in documents]
            await self._database.fill(name, documents)
            done[name] += len(documents)
            progress(name, done[name])
        for name in staged:
            await self._database.check_staged(name, done[name])
        await self._database.keep_audit(datetime.fromisoformat(contents.header.made_at))
        there = await self._database.collections()
        dropped = [name for name in there if name not in staged]
        await self._database.switch(staged, dropped=dropped)

    async def pending(self) -> list[str]:
        """The migrations that are not recorded in the database, in order."""
        applied = await self._database.applied_migrations()
        return [name for name in self._migrations if name not in applied]

    def _in_order(self, collections: Sequence[str]) -> list[str]:
        """What lets somebody in comes before what keeps him out, where not all is read at one moment."""
        return sorted(collections, key=lambda name: name not in self._endings)

    def _unknown(self, header: Header) -> list[str]:
        unknown = [name for name in header.migrations if name not in self._migrations]
        if not unknown:
            return []
        more = f" and {len(unknown) - _FEW} more" if len(unknown) > _FEW else ""
        return [
            f"This Station does not know migrations of the backup, which Station {header.station} made: "
            f"{', '.join(unknown[:_FEW])}{more}. Switch the same plugins on, or install that version."
        ]


def _rewound(file: BinaryIO) -> Iterator[Header | Entry]:
    file.seek(0)
    return read_archive(file)


def _batches(file: BinaryIO, left_out: Collection[str]) -> Iterator[list[Entry]]:
    """The entries of a collection together: its beginning alone, documents by the hundred."""
    batch: list[Entry] = []
    for entry in _rewound(file):
        if isinstance(entry, Header) or (entry.is_document and entry.collection in left_out):
            continue
        if batch and (not entry.is_document or not batch[-1].is_document or len(batch) == _BATCH):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
