"""The directory of the local engines' sockets, which goes with its gateway, or with a later one."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX, LOCK = "modgate-", "gateway.lock"
SHARED = (Path("/", "tmp"), Path("/", "var", "tmp"))  # Source: FHS 3.0, 3.18 and 5.15
PARENT_AT_MOST = 60  # bytes; our own folder, an engine's name and `.sock` come behind it


class SocketDirectory:
    """A directory of this gateway alone; its path is short, for that of a socket has 107 bytes.

    OSError where it can be made nowhere.  It is locked for as long as its gateway lives.  So who
    finds one that is not knows that its gateway was killed, and takes it away.
    """

    def __init__(self) -> None:
        parent = _parent()
        _sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # mkdtemp makes it 0700
        new = self.path / f"{LOCK}.new"
        self._lock = os.open(new, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        new.rename(self.path / LOCK)  # only now, so that nobody finds it before it is held

    def close(self) -> None:
        """Take it away."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _parent() -> Path:
    """The first folder that is short, and where we may make another one."""
    runtime, temporary = os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()
    for each in (runtime, temporary, *SHARED):  # under `su` the first is another user's, or gone
        short = len(os.fsencode(each)) <= PARENT_AT_MOST
        if short and os.path.isdir(each) and os.access(each, os.W_OK | os.X_OK):
            return Path(each)
    text = f"too long for sockets; set TMPDIR to a folder of {PARENT_AT_MOST} bytes at most"
    raise OSError(errno.ENAMETOOLONG, text, temporary)


def _sweep(parent: Path) -> None:
    """Take away what gateways of this user left that were killed."""
    for found in parent.glob(f"{PREFIX}*/{LOCK}"):
        try:
            lock = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # another user's, or gone by now
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(found.parent, ignore_errors=True)  # which follows no link
        except BlockingIOError:  # its gateway lives
            pass
        finally:
            os.close(lock)
