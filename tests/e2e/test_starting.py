"""What a person sees when the gateway cannot start: the reason, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE

import pytest
from click.testing import CliRunner, Result
from gateways import configuration

from modgate.cli import main
from modgate.config.decode import decode
from modgate.config.show import effective
from modgate.config.source import read
from modgate.problems import ConfigError
from modgate.server.app import App
from modgate.server.banner import banner
from modgate.server.secrets import StateDirectory


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def served(folder: Path, text: str, *words: str) -> Result:
    """What `modgate serve` says to a file that it cannot start with."""
    path = folder / "modgate.toml"
    path.write_text(text)
    return CliRunner().invoke(
        main, ["serve", str(path), "--directory", str(folder / "state"), *words]
    )


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["serve", str(tmp_path / "none.toml")])

    assert result.exit_code == 1
    assert result.output == f"{tmp_path}/none.toml: no such file or directory\n"
    assert "Traceback" not in result.output


async def test_a_second_gateway_on_a_directory_is_told_who_holds_it(tmp_path: Path) -> None:
    path, _ = configuration(tmp_path, [{"url": "http://127.0.0.1:9"}], plugins=("llm",))
    first = App(path, directory=tmp_path / "state")
    await first.open()
    try:
        with pytest.raises(ConfigError, match="is held by another gateway"):
            await App(path, directory=tmp_path / "state").open()
    finally:
        await first.close()


def test_the_effective_configuration_says_where_each_value_was_written(tmp_path: Path) -> None:
    path = tmp_path / "modgate.toml"
    path.write_text(
        '[listen]\naddress = "127.0.0.1:1"\n[tenant.a]\nlimits = { requests = "5/s" }\n'
    )
    source = read(path)

    rows = {key: origin for key, _, origin in effective(decode(source), source)}

    assert rows["listen.address"] == f"{path}:2"
    assert rows["tenant.a.limits.requests.amount"] == f"{path}:4"
    assert rows["tenant.a.limits.in_flight"] == "default"
    assert rows["admin.address"] == "default"


ELSEWHERE = '[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = "127.0.0.1:0"\n'


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("[listen]\n", ["--address", "foo"], 'command line: listen.address: reads "HOST:PORT"'),
        (
            ELSEWHERE,
            ["--admin-address", "0.0.0.0:0"],
            "command line: admin.address: off loopback it needs a key",
        ),
        (
            ELSEWHERE,
            ["--address", "127.0.0.1:7", "--admin-address", "127.0.0.1:7"],
            "command line: admin.address: the public listener has 127.0.0.1:7 already",
        ),
        (
            '[listen]\ntls = { cert = "/none.pem", key = "/none.key" }\n',
            [],
            "FILE:2: listen.tls.cert: /none.pem cannot be read: no such file or directory",
        ),
        (
            '[fetch]\nallow = ["files.internal"]\n',
            [],
            "FILE:2: fetch.allow[0]: 'files.internal' is not an origin such as",
        ),
        ("[listen]\n", ["--address", "192.0.2.7:0"], "192.0.2.7:0 is no address of this machine"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_line(
    tmp_path: Path, text: str, words: Sequence[str], said: str
) -> None:
    result = served(tmp_path, text, *words)

    assert said in result.output.replace(f"{tmp_path}/modgate.toml", "FILE")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert len(result.output.splitlines()) == 2  # and how many there are


@pytest.mark.parametrize("section", ["listen", "admin"])
def test_a_taken_port_is_told_with_its_holder(tmp_path: Path, taken: int, section: str) -> None:
    text = ELSEWHERE.replace(
        f'[{section}]\naddress = "127.0.0.1:0', f'[{section}]\naddress = "127.0.0.1:{taken}'
    )

    result = served(tmp_path, text)

    assert f"{section}.address: 127.0.0.1:{taken} is taken by " in result.output
    assert f"(process {os.getpid()})" in result.output
    assert result.exit_code == 1


async def test_one_address_of_the_command_line_leaves_the_other_of_the_file(
    tmp_path: Path, taken: int
) -> None:
    path = tmp_path / "modgate.toml"
    path.write_text(f'[admin]\naddress = "127.0.0.1:{taken}"\n')

    with pytest.raises(
        ConfigError, match=rf"modgate\.toml:2: admin\.address: 127\.0\.0\.1:{taken}"
    ):
        await App(
            path, directory=tmp_path / "state", overrides={("listen", "address"): "127.0.0.1:0"}
        ).open()


async def test_what_the_command_line_said_is_shown_as_such(tmp_path: Path) -> None:
    path = tmp_path / "modgate.toml"
    path.write_text(ELSEWHERE)
    said = {("listen", "address"): "0.0.0.0:0", ("log", "level"): "error"}
    app = App(path, directory=tmp_path / "state", overrides=said)
    await app.open()
    try:
        rows = {key: (value, origin) for key, value, origin in app.tenancy.made.effective}
        first = next(iter(banner(app)))
    finally:
        await app.close()

    assert rows["listen.address"] == ('"0.0.0.0:0"', "command line")
    assert rows["log.level"] == ('"error"', "command line")
    assert rows["admin.address"] == ('"127.0.0.1:0"', f"{path}:4")
    assert rows["state.directory"][1] == "command line"
    assert first.startswith(f"modgate serves http://127.0.0.1:{app.public_address[1]} on 0.0.0.0 ")


async def test_a_start_without_a_modality_is_told_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "modgate.toml"
    path.write_text(ELSEWHERE)
    app = App(path, directory=tmp_path / "state")
    await app.open()
    try:
        said = list(banner(app))
    finally:
        await app.close()

    assert "no plugin of a modality is on" in said[-1]
    assert "pip install 'modgate-llm[local]'" in said[-1]


def test_a_state_directory_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    result = served(tmp_path, ELSEWHERE)

    assert f"{tmp_path}/state cannot be the state directory: there is a file" in result.output
    assert result.exit_code == 1


def started(folder: Path, before: str = "") -> subprocess.Popen[str]:
    """`modgate serve` as a process of its own, after a line of the shell."""
    path = folder / "modgate.toml"
    path.write_text(ELSEWHERE)
    main = f"{sys.executable} -c 'from modgate.cli import main; main()'"
    serve = f"{before} exec {main} serve {path} --directory {folder}/state"
    return subprocess.Popen(["sh", "-c", serve], stdout=PIPE, stderr=PIPE, text=True)


def until_locked(folder: Path) -> None:
    """It has begun to start."""
    for _ in range(30_000):
        if (folder / "state" / "lock").exists():
            return
        time.sleep(0.001)
    raise TimeoutError


@pytest.mark.slow
def test_a_disk_that_takes_nothing_is_told_with_its_directory(tmp_path: Path) -> None:
    _, said = started(tmp_path, "ulimit -f 0;").communicate(timeout=30)

    assert f"{tmp_path}/state cannot be the state directory: file too large\n" in said


@pytest.mark.slow
def test_a_stream_that_was_closed_lends_its_number_to_no_other_file(tmp_path: Path) -> None:
    process = started(tmp_path, "exec >&- 2>&-;")
    until_locked(tmp_path)
    found = [Path(f"/proc/{process.pid}/fd/{number}").resolve() for number in (1, 2)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert found == [Path(os.devnull)] * 2


@pytest.mark.slow
def test_a_hangup_while_it_starts_does_not_end_it(tmp_path: Path) -> None:
    process = started(tmp_path)
    until_locked(tmp_path)
    process.send_signal(signal.SIGHUP)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert first.startswith("modgate serves")


@pytest.mark.slow
def test_hangups_to_its_very_end_do_not_end_it(tmp_path: Path) -> None:
    process = started(tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.001)
    process.communicate()

    assert process.returncode == 0


def test_mistakes_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    result = served(tmp_path, '[plugin.lmm]\n[listen]\naddress = "foo"\n')

    assert [row.split(": ")[0].rpartition(":")[2] for row in result.output.splitlines()[:2]] == [
        "1",
        "3",
    ]


def test_a_state_directory_is_closed_once(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    directory.close()
    other = os.open(tmp_path / "lock", os.O_RDONLY)  # takes the number that became free

    directory.close()

    os.close(other)
