"""How the suite runs, and what a run prints at its end.

Without a path all tests run, on two workers more than there are processors, for half of the time
they wait.  What a run prints travels with the reports of its tests, so it arrives from a worker.
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable, Generator, Iterator

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

TOGETHER = ("tests/clients/",)  # folders whose tests share what takes long to start
LONG = ("tests/clients/", "tests/sim/")  # folders with the longest files
FIGURE, ROW, SEED = "figure", "row", "MODGATE_SEED"
HEAD = ("engine", "asked by", "what came", "the bill")
Row = Callable[[str, str, str, str], None]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite on several workers; what is named by path, here."""
    option, whole = config.option, config.args_source is config.ArgsSource.TESTPATHS
    is_worker = hasattr(config, "workerinput")
    if whole and not is_worker and option.numprocesses is None and not option.usepdb:
        option.numprocesses, option.dist = (os.cpu_count() or 1) + 2, "loadfile"


class ByFile(LoadFileScheduling):
    """A file is for one worker, and so is a folder whose files share what they start."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Whose turn it is."""
    return ByFile(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """One seed for all workers, which have this process's environment; no test is timed."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(1_000_000)))
    config.option.loadscopereorder = False  # the order is ours
    # An example may take long on a busy machine.
    settings.register_profile("default", deadline=None)
    settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is long first, then files with slow tests, or one worker would have them to itself in
    the end."""
    for item in items:
        if item.get_closest_marker("models"):
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.nodeid.startswith(LONG), item.path not in slow))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """No collection of garbage goes through what is imported: there is none in it, and some tests
    ask for many."""
    gc.disable()
    collected = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return collected


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """The time of a test that failed is over: pytest-timeout thinks so when the report is made, and
    time that runs out amid it ends the whole run."""
    if call.excinfo is not None:
        item.config.pluginmanager.hook.pytest_timeout_cancel_timer(item=item)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Figures and rows, whether their tests passed or not."""
    if rows := list(_told(terminalreporter, ROW)):
        terminalreporter.section("engines of other people")
        widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
        for row in (HEAD, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            terminalreporter.write_line("  ".join(cells).rstrip())
    if figures := [line for (line,) in _told(terminalreporter, FIGURE)]:
        terminalreporter.section("figures of the local models")
        for line in [f"{SEED}={os.environ[SEED]}", *figures]:
            terminalreporter.write_line(line)


def _told(reporter: pytest.TerminalReporter, kind: str) -> Iterator[tuple[str, ...]]:
    for outcome in ("passed", "failed"):
        for report in reporter.stats.get(outcome, []):
            if report.when == "call":
                yield from (tuple(said) for name, said in report.user_properties if name == kind)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line at the end of the run."""
    return lambda line: request.node.user_properties.append((FIGURE, [line]))


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """Add a row to the table of engines."""
    return lambda *cells: request.node.user_properties.append((ROW, list(cells)))


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """What a test draws from: the run's seed and the test's name, so order does not matter."""
    return random.Random(f"{os.environ[SEED]} {request.node.name}")
