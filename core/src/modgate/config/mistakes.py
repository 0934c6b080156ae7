"""What does not fit in a file, collected while it is linked, so that all of it is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from modgate.config.decode import problems_of
from modgate.config.lines import Path
from modgate.config.section import ModelT, parsed
from modgate.config.source import Source
from modgate.problems import Problem


class Mistakes:
    """Those of one source; `found`: in the order in which they were met, some of them before."""

    def __init__(self, source: Source, found: Iterable[Problem] = ()) -> None:
        self._source = source
        self.found = list(found)

    def wrong(self, path: Path, message: str) -> None:
        """What stands there does not fit."""
        self.found.append(self._source.problem(path, message))

    def missing(self, path: Path, message: str, *named: str) -> None:
        """A mistake, unless what is `named` was left out, or may be in a file that was not read."""
        lost = any(each[: len(named)] == named for each in self._source.lost)
        if self._source.whole and not lost:
            self.wrong(path, message)

    def keys(
        self,
        path: Path,
        kind: type[ModelT],
        values: Mapping[str, object],
        also: Iterable[str] = (),
    ) -> ModelT | None:
        """Values as a plugin's type; None where they do not fit.

        `also`: keys that stand beside those of `kind`.
        """
        try:
            return parsed(kind, values)
        except ValidationError as error:
            self.found += problems_of(error, self._source.problem, kind, path, also)
            return None
