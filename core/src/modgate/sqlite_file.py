"""The file of an open SQLite database, by what it is and not by its name.

Somebody may remove or replace it while it is open.  SQLite goes on with the file that it has, which
has no name any more: what is written then is there for nobody.
Source: https://www.sqlite.org/howtocorrupt.html, 2.4 and 1.4.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

Inode = tuple[int, int]


class SqliteFile:
    """What a database was opened as, with the journal that lies beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = _inode(path)
        beside = [path.with_name(path.name + ending) for ending in ("-wal", "-shm")]
        self._journal = {each: _inode(each) for each in beside}

    @property
    def moved(self) -> bool:
        """Whether its name leads nowhere now, or to another file."""
        return _inode(self.path) != self._opened

    def close(self, db: sqlite3.Connection) -> None:
        """Close the database, which was opened as this file.

        Where that was moved, its journal goes into it first, and away: SQLite would leave it, and
        bring it into the next file of the name.
        """
        away = self.moved and _written_back(db)
        db.close()
        for path, inode in self._journal.items() if away else ():
            if inode is not None and _inode(path) == inode:
                path.unlink(missing_ok=True)


def _written_back(db: sqlite3.Connection) -> bool:
    """Whether the file has all that its journal had."""
    try:
        [(busy, _, _)] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        return False
    return not busy


def _inode(path: Path) -> Inode | None:
    """Which file a name leads to; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
