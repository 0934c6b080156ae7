"""Engines that we did not write: started on a free port, with `modgate serve` before them."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from clients.serving import ROOT, Served, serving, without
from gateways import configuration
from servers import free_port

from modgate.ledger.reader import rows
from modgate.money.invoice import units_by
from peers.places import made

READY_S, STOP_S, BILLED_S = 60.0, 10.0, 5.0
PEERS = Path(__file__).parent
DATA = Path(os.environ.get("MODGATE_DATA", ROOT / ".models"))
TENANT = "acme"
Row = Callable[[str, str, str, str], None]  # of the table at the end of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How an engine is started, and what of it a gateway is told."""

    family: str
    modality: str
    command: Callable[[int], Sequence[str | Path]]
    served: str
    health: str = "/health"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fronted:
    """A gateway with engines of other people behind it."""

    gateway: Served
    engines: Sequence[str]  # their urls
    folder: Path

    def bill(self, modality: str, requests: int) -> dict[str, int]:
        """A model's units, each exact, once so many requests are in the ledger."""
        until = time.monotonic() + BILLED_S
        while True:
            own = (row for row in rows(self.folder / "state/ledger") if row.tenant == TENANT)
            sums = units_by(own, ("model",))
            found = {unit: line for (model, unit), line in sums.items() if model == modality}
            if any(line.requests == requests for line in found.values()):
                assert all(line.exact for line in found.values()), found
                return {unit.partition(".")[2]: line.amount for unit, line in found.items()}
            assert time.monotonic() < until, found
            time.sleep(0.05)


def shown(bill: Mapping[str, int]) -> str:
    """A bill in a cell of the table, without the bytes that any request has."""
    units = sorted(unit for unit in bill if bill[unit] and not unit.startswith("bytes"))
    return ", ".join(f"{unit} {bill[unit]}" for unit in units)


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def environment_of(name: str, *, gated: bool = False) -> None:
    """A skip where its environment is absent; a failure where the gates must have made it."""
    if not made(name):
        hint = f"{name} is not installed; run: ./dev python tests/peers/places.py {name}"
        without(hint) if gated else pytest.skip(hint)  # how to make it


def model_data(path: str) -> Path:
    """A file or folder of the local models' data."""
    if not (DATA / path).exists():
        without(f"{path} is missing; run: modgate models install")
    return DATA / path


@contextmanager
def fronted(folder: Path, *engines: Engine) -> Iterator[Fronted]:
    """A model a modality, each served by one engine.  AssertionError when one does not start."""
    with ExitStack() as stack:
        urls = [stack.enter_context(_running(folder, each)) for each in engines]
        backends = [
            {"url": url, "family": each.family, "slots": 2, "serves": {each.modality: each.served}}
            for url, each in zip(urls, engines, strict=True)
        ]
        names = {each.modality: each.modality for each in engines}
        config, keys = configuration(folder, backends, plugins=tuple(names), models=names)
        gateway = stack.enter_context(serving(folder, config, keys[TENANT]))
        yield Fronted(gateway=gateway, engines=urls, folder=folder)


@contextmanager
def _running(folder: Path, engine: Engine) -> Iterator[str]:
    port = free_port()
    output = folder / f"{engine.family}-{engine.modality}.out"
    environment = {
        **os.environ,
        "MODGATE_DATA": str(DATA),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    with output.open("wb") as file:
        process = subprocess.Popen(
            engine.command(port), stdout=file, stderr=file, env=environment, cwd=folder
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}{engine.health}", output)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, output: Path) -> None:
    until = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=READY_S):
                return
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the engine did not start:\n{output.read_text()[-2000:]}")
