"""A decoder process is apart from the terminal, and never without its gateway."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from modgate.decoders.process import DecoderLimits, Process

GATEWAY = """
import asyncio
from modgate.decoders.process import DecoderLimits, Process

async def main():
    process = await Process.start(DecoderLimits())
    print(process._child.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
LOOK_S, PATIENCE_S = 0.01, 5.0


def running(pid: int) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_terminals_signal_is_not_for_a_decoder() -> None:
    process = await Process.start(DecoderLimits())
    pid = process._child.pid
    groups = (os.getpgid(pid), os.getpgid(0))
    await process.kill()

    assert groups[0] == pid != groups[1]


async def test_a_decoder_dies_with_a_gateway_that_is_killed() -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GATEWAY, stdout=asyncio.subprocess.PIPE
    )
    assert gateway.stdout is not None
    async with asyncio.timeout(4 * PATIENCE_S):
        pid = int(await gateway.stdout.readline())
    before = running(pid)
    gateway.kill()
    await gateway.wait()
    for _ in range(int(PATIENCE_S / LOOK_S)):
        if not running(pid):
            break
        await asyncio.sleep(LOOK_S)

    assert before
    assert not running(pid)
