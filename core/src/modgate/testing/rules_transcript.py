"""Rules of golden transcripts: what a dialect sends and hears is what its engine wants and says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from modgate.api.dialect import Dialect, Outgoing
from modgate.api.plan import ReplyKind
from modgate.errors import Unsupported
from modgate.testing.newer import newer, without_newer
from modgate.testing.replay import Cut, Got, heard, request_told, spoken, told_of
from modgate.testing.rig import Rig
from modgate.testing.rules_stream import cuts
from modgate.testing.suite import Suite, require
from modgate.testing.transcript import Said, Transcript, transcripts

SEAMS_AT_MOST = 300


class TranscriptRules(Suite):
    """Of each transcript beside the contract, in the dialect of its family."""

    def test_every_dialect_has_transcripts(self) -> None:
        """Every family but home shows a good reply with its request, and an error."""
        ours = [kind for kind in self.dialects if kind.modality == self.modality.name]
        there = self._transcripts()
        known = {"home", *(kind.family for kind in ours)}
        strange = sorted({each.family for each in there} - known)
        require(not strange, f"transcripts of what is none of the contract's dialects: {strange}")
        for kind in ours:
            mine = [each for each in there if each.family == kind.family]
            good = any(each.request and each.gives.error is None for each in mine)
            bad = any(each.gives.error is not None for each in mine)
            require(
                kind.family == "home" or (good and bad),
                f"transcripts/{kind.family} lacks {'an error' if good else 'a good reply'}; "
                f"there: {[each.path.name for each in mine]}",
            )

    def test_a_transcripts_request_is_what_the_engine_wants(self, tmp_path: Path) -> None:
        """Path, headers and body: JSON as JSON, forms part by part."""
        with self.rig(tmp_path) as rig:
            told = [
                f"{each.name}: {wrong}"
                for each in self._transcripts()
                if (wrong := self._request_told(rig, each))
            ]
        require(not told, "\n".join(told))

    def test_a_transcripts_reply_is_the_same_at_any_cut(self, tmp_path: Path) -> None:
        """Its events and its error, whole, byte by byte, and cut in two at every seam."""
        with self.rig(tmp_path) as rig:
            told = [
                f"{each.name}: {wrong}"
                for each in self._transcripts()
                if (wrong := self._cut_told(rig, each))
            ]
        require(not told, "\n".join(told))

    def test_what_a_newer_engine_adds_breaks_nothing(self, tmp_path: Path) -> None:
        """Unknown keys, events and comments change nothing; they may pass through."""
        with self.rig(tmp_path) as rig:
            told = [
                f"{each.name}: with {wrong}"
                for each in self._transcripts()
                if (wrong := self._newer_told(rig, each))
            ]
        require(not told, "\n".join(told))

    def _transcripts(self) -> list[Transcript]:
        folder = self._folder()
        return transcripts(folder) if folder is not None else []

    def _folder(self) -> Path | None:
        if self.transcripts is not None:
            folder = Path(self.transcripts)
            require(folder.is_dir(), f"there is no folder {folder}")
            return folder
        beside = Path(inspect.getfile(type(self))).parent / "transcripts"
        return beside if beside.is_dir() else None

    def _dialect(self, rig: Rig, transcript: Transcript) -> Dialect:
        kinds: dict[str, type[Dialect]] = {"home": Dialect}
        kinds |= {kind.family: kind for kind in self.dialects if kind.modality == rig.modality.name}
        known = transcript.family in kinds
        require(known, f"{transcript.name}: the contract's dialects have no such family")
        return spoken(rig, kinds[transcript.family], transcript)

    def _request_told(self, rig: Rig, transcript: Transcript) -> str:
        encoded = _encoded(transcript, self._dialect(rig, transcript))
        if (encoded is None) != transcript.gives.unsupported:
            return "the dialect cannot say it" if encoded is None else "the dialect can say it"
        if encoded is None or transcript.request is None:
            return ""
        return request_told(transcript.request, transcript.call, encoded)

    def _cut_told(self, rig: Rig, transcript: Transcript) -> str:
        for name, cut in _cuts(transcript.reply, self._framing(rig, transcript)):
            got = self._heard(rig, transcript, transcript.reply, cut)
            if got is not None and (wrong := told_of(transcript.gives, got)):
                return f"cut {name}, {wrong}"
        return ""

    def _newer_told(self, rig: Rig, transcript: Transcript) -> str:
        if transcript.reply is None:
            return ""
        for name, body in newer(transcript.reply.body, self._framing(rig, transcript)):
            said = replace(transcript.reply, body=body)
            got = self._heard(rig, transcript, said, lambda data: [data])
            if got is None:
                continue
            bare = [left for data in got.events if (left := without_newer(data)) is not None]
            if wrong := told_of(transcript.gives, Got(events=bare, error=got.error)):
                return f"{name}, {wrong}"
        return ""

    def _framing(self, rig: Rig, transcript: Transcript) -> ReplyKind:
        """How the reply is read; an error always as a whole."""
        encoded = _encoded(transcript, self._dialect(rig, transcript))
        good = transcript.reply is not None and 200 <= transcript.reply.status < 300
        return encoded.reply if good and encoded is not None else "whole"

    def _heard(self, rig: Rig, transcript: Transcript, said: Said | None, cut: Cut) -> Got | None:
        """None when the dialect cannot say the call."""
        dialect = self._dialect(rig, transcript)
        outgoing = _encoded(transcript, dialect)
        if outgoing is None or said is None:
            return None
        try:
            return heard(dialect, outgoing, said, cut)
        except Exception as error:
            raise AssertionError(
                f"{transcript.name}: decoding ended in {type(error).__name__}: {error}"
            ) from error


def _encoded(transcript: Transcript, dialect: Dialect) -> Outgoing | None:
    try:
        return dialect.encode()
    except Unsupported:
        return None
    except Exception as error:
        raise AssertionError(
            f"{transcript.name}: encode ended in {type(error).__name__}: {error}"
        ) from error


def _cuts(said: Said | None, framing: ReplyKind) -> Iterator[tuple[str, Cut]]:
    """The ways of `rules_stream`, byte by byte whatever the size, and in two at many places."""
    yield "nowhere", lambda data: [data]
    if said is None or framing == "whole":
        return
    yield "byte by byte", lambda data: (data[at : at + 1] for at in range(len(data)))
    yield from cuts()
    step = max(1, len(said.body) // SEAMS_AT_MOST)
    for at in range(1, len(said.body), step):
        yield f"at byte {at}", _in_two(at)


def _in_two(at: int) -> Cut:
    return lambda data: [data[:at], data[at:]]
