"""What is forked does as the command that was started by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.zygote import Forked


@pytest.mark.parametrize("words", [["version"], ["frobnicate"], ["check", "wrong.toml"]])
def test_it_says_and_ends_as_the_command_does(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "wrong.toml").write_text("[listen]\naddress = 5\n")
    said = [word.replace("wrong", str(tmp_path / "wrong")) for word in words]
    command = [str(Path(sys.executable).with_name("modgate")), *said]
    alone = subprocess.run(command, stdout=-1, stderr=-2, text=True, check=False)
    forked = Forked(said, tmp_path / "output")

    assert forked.wait(30.0) == alone.returncode
    assert (tmp_path / "output").read_text() == alone.stdout


def test_it_has_the_environment_that_it_was_given(tmp_path: Path) -> None:
    config, output = tmp_path / "modgate.toml", tmp_path / "output"
    config.write_text('[auth]\npepper = { env = "OF_A_FORK" }\n')
    told = Forked(["check", str(config)], output, {**os.environ, "OF_A_FORK": "pepper"})
    assert told.wait(30.0) == 0, output.read_text()
    untold = Forked(["check", str(config)], output)

    assert untold.wait(30.0) == 1
    assert "OF_A_FORK is not set" in output.read_text()


def test_its_end_is_told_by_the_signal(tmp_path: Path) -> None:
    free = ["--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]
    forked = Forked(["serve", "--directory", str(tmp_path / "state"), *free], tmp_path / "output")
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(0.0)
    assert forked.poll() is None
    forked.kill()

    assert forked.wait(30.0) == forked.poll() == -signal.SIGKILL
    forked.send_signal(signal.SIGTERM)  # to nobody
