from __future__ import annotations

import gzip
import io
import json

import pytest

from station.backup.archive import ArchiveWriter, BackupError, Entry, Header, read_archive

HEADER = Header("0.1.0", "2026-01-02T03:04:05+00:00", "station", ("auth/1", "bots/1"), audit=True)


def archive(*bots: str) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file, HEADER)
    writer.begin("bots", '{"indexes": []}')
    for bot in bots:
        writer.add(bot)
    writer.begin("empty", "{}")
    writer.close()
    return file.getvalue()


def lines(data: bytes) -> list[bytes]:
    return gzip.decompress(data).splitlines(keepends=True)


def read(data: bytes) -> list[Header | Entry]:
    return list(read_archive(io.BytesIO(data)))


def test_what_was_written_is_read() -> None:
    assert read(archive('{"_id": 1}', '{"collection": "trap", "end": {}}')) == [
        HEADER,
        Entry("bots", '{"collection": "bots", "made_as": {"indexes": []}}\n', is_document=False),
        Entry("bots", '{"document": {"_id": 1}}\n', is_document=True),
        Entry("bots", '{"document": {"collection": "trap", "end": {}}}\n', is_document=True),
        Entry("empty", '{"collection": "empty", "made_as": {}}\n', is_document=False),
    ]


def test_the_end_counts() -> None:
    end = json.loads(lines(archive('{"_id": 1}', '{"_id": 2}'))[-1])["end"]
    assert end["counts"] == {"bots": 2, "empty": 0}
    assert len(end["sha256"]) == 64


def test_what_was_cut_short_is_refused_wherever_it_was() -> None:
    whole = archive('{"_id": 1}')
    for length in range(len(whole)):
        with pytest.raises(BackupError):
            read(whole[:length])


def test_a_line_that_is_missing_is_noticed() -> None:
    all_lines = lines(archive('{"_id": 1}', '{"_id": 2}'))
    for missing in range(len(all_lines)):
        rest = b"".join(line for place, line in enumerate(all_lines) if place != missing)
        with pytest.raises(BackupError):
            read(gzip.compress(rest))


def test_a_byte_that_was_changed_changes_nothing_or_is_noticed() -> None:
    whole = archive('{"_id": 1}')
    expected = read(whole)
    noticed = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        try:
            assert read(bytes(changed)) == expected  # the time and the system in gzip's own header
        except BackupError:
            noticed += 1
    assert noticed > len(whole) - 10


def test_what_was_changed_and_compressed_again_is_noticed() -> None:
    changed = gzip.decompress(archive('{"_id": 1}')).replace(b'"_id": 1', b'"_id": 7')
    with pytest.raises(BackupError, match="checksum"):
        read(gzip.compress(changed))


def test_what_follows_the_end_is_refused() -> None:
    whole = gzip.decompress(archive('{"_id": 1}'))
    with pytest.raises(BackupError, match="follows"):
        read(gzip.compress(whole + b'{"document": {}}\n'))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no backup|cut short|no JSON"),
        (b"no gzip at all", "no gzip file"),
        (gzip.compress(b"", mtime=0), "no JSON"),
        (gzip.compress(b"[]\n", mtime=0), "no backup of Station"),
        (gzip.compress(b'{"header": {"format": "other"}}\n', mtime=0), "no backup of Station"),
        (
            gzip.compress(b'{"header": {"format": "station-backup", "version": 2}}\n', mtime=0),
            "newer Station",
        ),
        (gzip.compress(b'{"header": {"format": "station-backup", "version": 1}}\n', mtime=0), "incomplete"),
    ],
)
def test_what_is_no_backup_is_said(data: bytes, message: str) -> None:
    with pytest.raises(BackupError, match=message):
        read(data)
