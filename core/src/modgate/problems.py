"""What is wrong with a configuration or a plugin: told at start-up and reload, to the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in the configuration, with its place and the remedy."""

    message: str
    path: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = f"{place}: " if place else ""
        return f"{where}{self.path}: {self.message}" if self.path else where + self.message


class ConfigError(Exception):
    """All mistakes of a configuration at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class PluginError(Exception):
    """A plugin that cannot be used; `plugin` reads `name (distribution version)`."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(f"plugin '{plugin}' {message}")
        self.plugin = plugin
