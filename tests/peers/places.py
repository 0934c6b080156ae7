"""Servers and clients of other people, each in an environment of its own.

    ./dev python tests/peers/places.py [NAME ...]

makes them under .peers/ from the lock of each, with every hash checked.  A lock is made by
`uv pip compile --generate-hashes --no-header --no-annotate --python-version 3.11`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".peers"
NAMES = tuple(sorted(path.stem for path in HERE.glob("*.lock")))


def program(name: str, of: str) -> Path:
    """A program of an environment."""
    return FOLDER / of / "bin" / name


def made(name: str) -> bool:
    """Whether the environment is there, and is what its lock says."""
    stamp = FOLDER / name / ".stamp"
    return stamp.is_file() and stamp.read_text() == _wanted(name)


def make(name: str) -> None:
    """Make an environment anew where it is not what its lock says."""
    if made(name):
        return
    print(f"making .peers/{name}", file=sys.stderr)
    place = FOLDER / name
    _uv("venv", "--allow-existing", "--python", sys.executable, str(place))
    interpreter = str(program("python", name))
    _uv("pip", "sync", "--require-hashes", "--python", interpreter, str(HERE / f"{name}.lock"))
    (place / ".stamp").write_text(_wanted(name))


def main(names: Sequence[str]) -> None:
    """Make those named, or all."""
    for name in names or NAMES:
        make(name)


def _wanted(name: str) -> str:
    return hashlib.sha256((HERE / f"{name}.lock").read_bytes()).hexdigest()


def _uv(*arguments: str) -> None:
    subprocess.run(["uv", *arguments, "--quiet"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
