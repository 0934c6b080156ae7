"""A gateway that can be killed and is back in a moment: forked from a process that has it loaded.

python zygote.py CONFIG   start\\n -> PID\\n, once it listens; wait\\n -> the child's status\\n
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path


def serve(config: Path, ready: int) -> None:
    """The child: a gateway until it is told to stop, or killed."""
    from modgate.server import run as module

    said = []

    def say(line: str) -> None:
        if not said:
            said.append(line)
            os.write(ready, b"+")

    options = module.Options(path=config, say=say, log_level="error")
    asyncio.run(module.run(options))


def main(config: Path) -> None:
    from modgate.snapshot.blueprint import blueprint_of

    blueprint_of(config)  # imports every plugin once
    for line in sys.stdin:
        if line.strip() == "start":
            readable, ready = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(readable)
                os.close(0)
                try:
                    serve(config, ready)
                finally:
                    sys.excepthook(*sys.exc_info()) if sys.exc_info()[0] else None
                    os._exit(0)
            os.close(ready)
            if os.read(readable, 1) != b"+":
                child = 0
            os.close(readable)
            print(child, flush=True)
        else:
            print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
