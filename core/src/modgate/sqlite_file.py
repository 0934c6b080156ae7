"""The file of an open SQLite database, by what it is and not by its name.

Somebody may remove or replace it while it is open.  SQLite goes on with the file that it has, which
has no name any more: what is written then is there for nobody.
Source: https://www.sqlite.org/howtocorrupt.html, 2.4 and 1.4.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path
from tempfile import mkstemp

Inode = tuple[int, int]
STILL_S, STILL_LOOKS = 0.2, 50  # until somebody who writes it is done


class SqliteFile:
    """What a database was opened as, with the journal that lies beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = _inode(path)
        beside = [path.with_name(path.name + ending) for ending in ("-wal", "-shm")]
        self._journal = {each: _inode(each) for each in beside}
        self._seen = (0, -1)

    @property
    def moved(self) -> bool:
        """Whether its name leads nowhere now, or to another file."""
        return _inode(self.path) != self._opened

    def replaced(self, db: sqlite3.Connection) -> bool:
        """Whether its name leads elsewhere now; what was copied over it in place is elsewhere, too.

        sqlite3.OperationalError where there is no room for that.
        """
        try:
            if not self.moved and self._written_over(db):
                self._put_apart()
        except FileNotFoundError:
            pass  # it was removed a moment ago
        except OSError as error:
            raise sqlite3.OperationalError(f"written over: {error.strerror}") from None
        return self.moved

    def _written_over(self, db: sqlite3.Connection) -> bool:
        """Whether a smaller file was copied over it in place since this was asked last.

        Where SQLite itself makes the database smaller, it commits that first, and the file follows
        when the journal goes into it, perhaps much later.  So the size that counts is that of the
        database, if it is less.  The file is looked at first, so that a commit in between is seen.
        """
        size = self.path.stat().st_size
        [(version,)] = db.execute("PRAGMA data_version")
        if size < self._seen[0] and version == self._seen[1]:
            return True
        [(pages,)], [(page_bytes,)] = map(db.execute, ("PRAGMA page_count", "PRAGMA page_size"))
        self._seen = (min(size, pages * page_bytes), version)
        return False

    def _put_apart(self) -> None:
        """Give what was copied over it a file of its own, when that is whole: it has no part in the
        journal of this one, which would break it.
        """
        written = -1
        for _ in range(STILL_LOOKS):
            before, written = written, self.path.stat().st_mtime_ns
            if written == before:
                break
            time.sleep(STILL_S)
        descriptor, copy = mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
        os.close(descriptor)
        try:
            shutil.copyfile(self.path, copy)
            if not self.moved:  # nor was another gateway first that shares it
                Path(copy).replace(self.path)
        finally:
            Path(copy).unlink(missing_ok=True)

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
