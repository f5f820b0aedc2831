"""Backups: all that Station has in MongoDB in one file, and back again.

A file is gzip'd JSON lines (`station.backup.archive`) with documents in MongoDB's Extended JSON. The core
knows no plugin's collections: it takes every collection of the database, and the hook ``station_backup`` says
what must not come back to life with a restore::

    @hookimpl
    def station_backup(config):
        return BackupRules(endings={"bots": lambda bot: {**bot, "generation": new_generation()}})

A restore loads everything beside what is there, checks it, and then lets the collections change places.
"""

from station.backup.archive import BackupError
from station.backup.rules import BackupRules, Document
from station.backup.service import BackupService, Contents
from station.backup.stores import DatabaseStore

__all__ = ["BackupError", "BackupRules", "BackupService", "Contents", "DatabaseStore", "Document"]
