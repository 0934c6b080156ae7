"""What decoder processes are asked to do in tests, well-behaved and hostile."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

Spool = Callable[[bytes], Any]


class Wrong(Exception):
    def __init__(self, field: str | None, code: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.code, self.reason = field, code, reason


def echo(*args: Any) -> list[Any]:
    return list(args)


def pid() -> int:
    return os.getpid()


def modules() -> list[str]:
    return list(sys.modules)


def environment() -> dict[str, str]:
    return dict(os.environ)


def first(file: BinaryIO, length: int) -> bytes:
    return file.read(length)


def upper(file: BinaryIO, spool: Spool) -> dict[str, Any]:
    return {"file": spool(file.read().upper()), "size": file.tell()}


def refuse(field: str | None = None) -> None:
    raise Wrong(field, "invalid_audio", "the audio is silent")


def fail() -> None:
    raise KeyError("a secret of the client's")


def leave() -> None:
    raise SystemExit(0)


def crash() -> None:
    os._exit(3)


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def spin() -> None:
    while True:
        pass


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def gobble() -> int:
    held = []
    while True:
        held.append(bytearray(16 << 20))


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


def large(size: int) -> bytes:
    return bytes(size)


def odd() -> object:
    return object()


def write(size: int, times: int, spool: Spool) -> list[Any]:
    return [spool(bytes(size)) for _ in range(times)]


def needs_more() -> None:
    __import__("no_such_module")


def lie() -> None:
    """What a decoder that was taken over could do: write to the gateway by itself."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.write(int(name), b"\xff" * 64)
        except OSError:
            continue
    time.sleep(30)


def pieces(count: int, size: int, spool: Spool) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"n": n, "file": spool(bytes([n % 256]) * size)}


def numbered(count: int, path: str) -> Iterator[int]:
    """Says in a file how far it has come."""
    for n in range(count):
        with open(path, "a") as file:
            file.write(f"{n}\n")
        yield n


def pieces_then(ending: str) -> Iterator[int]:
    yield 0
    {"refuse": refuse, "fail": fail, "crash": crash, "spin": spin}[ending]()
    yield 1


def slow_pieces(count: int, cpu_s: float) -> Iterator[int]:
    for n in range(count):
        burn(cpu_s)
        yield n


def napping_pieces(seconds: float) -> Iterator[int]:
    while True:
        time.sleep(seconds)
        yield 1


def sound(file: BinaryIO) -> list[int]:
    import soundfile

    with soundfile.SoundFile(file) as audio:
        return [audio.samplerate, len(audio.read(dtype="float32"))]


def picture(file: BinaryIO, spool: Spool) -> dict[str, Any]:
    from PIL import Image

    image = Image.open(file)
    out = io.BytesIO()
    image.resize((10, 10)).save(out, "PNG")
    return {"size": list(image.size), "small": spool(out.getvalue())}


def document(file: BinaryIO) -> list[float]:
    import pypdfium2

    pdf = pypdfium2.PdfDocument(file)
    try:
        return [len(pdf), *pdf[0].render(scale=1).to_pil().size]
    finally:
        pdf.close()


def arithmetic() -> float:
    import numpy as np

    a = np.arange(250_000, dtype=np.float64).reshape(500, 500)
    return float((a @ a).sum() > 0)


def ignored_signals() -> list[bool]:
    found = [signal.getsignal(each) == signal.SIG_IGN for each in (signal.SIGINT, signal.SIGTERM)]
    return [*found, os.getppid() > 0, os.nice(0) > 0]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def written_then_refused(size: int, spool: Spool) -> None:
    spool(bytes(size))
    refuse()


def bad_text() -> str:
    return b"\xff".decode("utf-8")


def burn(cpu_s: float) -> None:
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        pass


def slow_pid() -> int:
    time.sleep(0.1)
    return os.getpid()


def search_path() -> list[str]:
    return sys.path


def tokens(text: str) -> int:
    from modgate.kit.tokens import encoding

    table = encoding("cl100k_base")
    return -1 if table is None else len(table.encode(text))


def refused_pieces() -> Iterator[int]:
    refuse()
    yield 1


def large_pieces(size: int) -> Iterator[bytes]:
    yield bytes(size)
