"""CPU per request and per SSE chunk of the gateway, beside nginx and a bare aiohttp proxy.

`python bench/run.py`.  All three stand before the same fake engine and are measured in turn, round
after round (A B A B), so that a noisy machine disturbs them alike.  The figure is CPU time of the
serving process, as a ratio.  A run is void unless receipts = requests, units = the engine's count,
and the counters moved.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from load import Load, drive

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from gateways import configuration  # noqa: E402  # the tests' own way to write a configuration

CONCURRENCY, STREAMS = 32, 50
IDLE_S, IDLE_CPU_S, IDLE_LOOKS = 0.25, 0.0025, 40
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 256; }}
  server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000;
    location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; }} }} }}
"""


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    import socket

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


def cpu_s(pid: int) -> float:
    """User and system time of a process and of its living children."""
    pids = [pid]
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if children.exists():
        pids += [int(each) for each in children.read_text().split()]
    total = 0.0
    for each in pids:
        # clock_getcpuclockid(3): /proc tells it in hundredths of a second only
        total += time.clock_gettime(~each << 3 | 2)
    return total


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(10)


class Server:
    """Something that is measured."""

    def __init__(self, name: str, pid: int, port: int, key: str = "-") -> None:
        self.name, self.pid, self.port, self.key = name, pid, port, key
        self.unary_us: list[float] = []
        self.chunk_us: list[float] = []
        self.first_ms: list[float] = []

    async def round(self, requests: int, streams: int) -> None:
        before = await self.idle()
        load = await drive(self.port, self.key, requests=requests, c=CONCURRENCY)
        self.check(load, requests)
        self.unary_us.append((await self.idle() - before) / requests * 1e6)
        single = await drive(self.port, self.key, requests=200, c=1)
        self.first_ms.append(statistics.median(single.first_s) * 1000)
        before = await self.idle()
        load = await drive(self.port, self.key, requests=streams, c=STREAMS, stream=True)
        self.check(load, streams)
        self.chunk_us.append((await self.idle() - before) / max(1, load.events) * 1e6)

    async def idle(self) -> float:
        """Its CPU time once it has done what it does behind replies, as shipping ledger rows."""
        used = cpu_s(self.pid)
        for _ in range(IDLE_LOOKS):
            await asyncio.sleep(IDLE_S)
            used, before = cpu_s(self.pid), used
            if used - before < IDLE_CPU_S:
                break
        return used

    def check(self, load: Load, wanted: int) -> None:
        if load.replies != wanted or load.bad:
            raise SystemExit(f"void: {self.name}: {load.replies} of {wanted}, {load.bad} bad")


def line(name: str, values: list[float], base: list[float]) -> str:
    ratios = [a / b for a, b in zip(values, base, strict=True)]
    middle = statistics.median(values)
    spread = f"{min(values):.0f}-{max(values):.0f}"
    return (
        f"{name:<8} {middle:8.1f} us ({spread})  {statistics.median(ratios):5.2f} x the bare proxy"
    )


def ledger_check(folder: Path, sent: int, streams: int) -> None:
    from modgate.ledger.reader import rows

    found = list(rows(folder / "state" / "ledger"))
    output = sum(row.units.get("llm.output_tokens", 0) for row in found)
    wanted = (sent - streams) * 100 + streams * 64
    if len(found) != sent or output != wanted or any(row.ending != "ok" for row in found):
        raise SystemExit(f"void: {len(found)} receipts of {sent}, {output} tokens of {wanted}")
    print(f"receipts {len(found)} = requests, output tokens {output} = the engine's count")


def metric(port: int, name: str) -> float:
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return sum(float(row.split()[-1]) for row in text.splitlines() if row.startswith(name))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--streams", type=int, default=400)
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    engine, bare, nginx, port, admin = (free_port() for _ in range(5))
    limits = (
        'limits = { requests = "1000000/s", in_flight = 10000, '
        'units = { "llm.output_tokens" = "1000M/min" } }'
    )
    config, keys = configuration(
        folder,
        [{"url": f"http://127.0.0.1:{engine}", "slots": 1000}],
        tenants={"acme": limits},
        plugins=("llm",),
    )
    text = config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    text = text.replace("127.0.0.1:0", f"127.0.0.1:{admin}", 1)
    config.write_text(
        text + f'[state]\ndirectory = "{folder / "state"}"\n[log]\nlevel = "warning"\n'
    )
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, engine=engine, port=nginx))
    python = sys.executable
    with (
        process(python, str(HERE / "engine.py"), str(engine)),
        process(python, str(HERE / "proxy.py"), str(bare), f"http://127.0.0.1:{engine}") as proxied,
        process("nginx", "-c", str(folder / "nginx.conf")) as web,
        process("modgate", "serve", str(config)) as gateway,
    ):
        for each in (engine, bare, nginx, port):
            wait_for(each)
        servers = [
            Server("proxy", proxied.pid, bare),
            Server("modgate", gateway.pid, port, keys["acme"]),
            Server("nginx", web.pid, nginx),
        ]
        for server in servers:
            await drive(server.port, server.key, requests=500, c=CONCURRENCY)
        idle = rss_mb(gateway.pid)
        for number in range(wanted.rounds):
            for server in servers:
                await server.round(wanted.requests, wanted.streams)
            print(f"round {number + 1} of {wanted.rounds}", file=sys.stderr)
        counted = metric(admin, "modgate_requests_total")
        after = rss_mb(gateway.pid)
    base = servers[0]
    print(f"chat completions, 1 KB in and out, c={CONCURRENCY}: CPU per request")
    for server in servers:
        print("  " + line(server.name, server.unary_us, base.unary_us))
    print(f"paced SSE, {STREAMS} streams: CPU per chunk")
    for server in servers:
        print("  " + line(server.name, server.chunk_us, base.chunk_us))
    print("first byte at c=1, median: ", end="")
    print(", ".join(f"{s.name} {statistics.median(s.first_ms):.2f} ms" for s in servers))
    print(f"RSS of the gateway: {idle:.0f} MB after warming up, {after:.0f} MB at the end")
    sent = 500 + wanted.rounds * (wanted.requests + 200 + wanted.streams)
    ledger_check(folder, sent, wanted.rounds * wanted.streams)
    if counted != sent:
        raise SystemExit(f"void: the metrics counted {counted} of {sent}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main())
