"""Drive every engine and client of other people that we know, and print a table.

    ./dev python tests/peers/run.py

makes an environment for each under .peers/, starts it on a free port, puts `modgate serve` before
it, and asks through official SDKs: the tests of this folder, where nothing may be missing, and
LlamaIndex over the demo models.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from places import main

if __name__ == "__main__":
    main([])
    environment = {**os.environ, "MODGATE_REQUIRE_SERVERS": "1"}
    here = Path(__file__).parent
    asked = [str(here), str(here.with_name("clients") / "test_llama_index.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *asked]
    raise SystemExit(subprocess.call(command, env=environment, cwd=here.parents[1]))
