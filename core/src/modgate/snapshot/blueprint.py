"""A configuration that was read, decoded and linked: all that can be known of it offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from modgate.api.model import Model
from modgate.auth.files import KeyFile, key_files, read_keys
from modgate.auth.keys import StoredKey
from modgate.config.decode import salvaged
from modgate.config.guess import close_to, did_you_mean
from modgate.config.lines import Path as KeyPath
from modgate.config.link import Known, Linked, Linker, validator
from modgate.config.mistakes import Mistakes
from modgate.config.schema import File
from modgate.config.show import Row, effective
from modgate.config.source import COMMAND_LINE, Source, read
from modgate.discover import kinds
from modgate.host.installed import Installed, find, wanted
from modgate.host.load import Host, Loaded, import_plugins, load
from modgate.http.surfaces import built_in
from modgate.http.tls import Tls, TlsFiles, Unusable
from modgate.ledger import shipping
from modgate.marks import Mark, mark_of
from modgate.problems import ConfigError, PluginError, Problem
from modgate.snapshot.auth import token_problems
from modgate.snapshot.demo import demo_models
from modgate.snapshot.directories import default_directory
from modgate.snapshot.extras import extra_problems
from modgate.snapshot.rehearsal import refusals
from modgate.telemetry.families import FAMILIES
from modgate.units import UnitTable
from modgate.upstream.origins import Allowed

Overrides = Mapping[KeyPath, str]
# Takes the files and what they were, and the patterns of others beside the first.
Noted = Callable[[Mapping[Path, Mark], Sequence[str]], None]

DEMO_LEVEL = "warning"  # a terminal shows the demo's progress in place of log lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A configuration that was read, decoded and linked: all that can be known offline."""

    linked: Linked
    loaded: Loaded
    source: Source
    known: Known
    keys: Sequence[tuple[str, StoredKey]] = ()
    demo: bool = False

    @property
    def units(self) -> UnitTable:
        """The units of the loaded modalities."""
        return self.known.units

    @property
    def effective(self) -> list[Row]:
        """The configuration as it is meant, with origins."""
        return effective(self.linked.file, self.source)


def blueprint_of(
    path: Path | None,
    *,
    installed: Installed | None = None,
    extra: Mapping[str, ModuleType] | None = None,
    only: Sequence[str] | None = None,
    overrides: Overrides | None = None,
    noted: Noted = lambda marks, patterns: None,
) -> Blueprint:
    """Read, decode, link and rehearse: each phase with what was right in the one before.

    ConfigError with every mistake, PluginError for a plugin that breaks its contract.  `path` None:
    the fileless start, with every installed plugin and its local engine.  `overrides`: what the
    command line says in place of the file.  `noted`: is told what it is made of, right or not.
    """
    written = Source() if path is None else read(path)
    if path is None:
        written.override({("log", "level"): DEMO_LEVEL}, "start without a file")
    written.override(overrides or {}, COMMAND_LINE)
    file, source, problems = salvaged(written)
    mistakes = Mistakes(source, problems)
    noted(_files(file, source), list(source.found))
    found = find() if installed is None else installed
    names = _enabled(file, found, extra or {}, mistakes)
    if path is None:
        names = _only([*found.plugins, *(extra or {})], only, mistakes)
    try:
        host = Host(import_plugins(found, names, extra))
        checked = validator(file, mistakes)
        loaded = load(host, checked, built_in(), shipping.built_in(), kinds.built_in())
    except PluginError as error:
        if not mistakes.found:
            raise
        told = Problem(message=str(error), path="plugin")
        raise ConfigError([*mistakes.found, told]) from error
    known = _known(loaded, {} if path is not None else demo_models(loaded, file.local.only))
    keys = _opened(file, source, mistakes)
    linked = Linker(file, known, mistakes).link()
    wrong, folder = source.problem, file.state.directory or default_directory()
    mistakes.found += token_problems(linked.issuers, linked.signing, wrong)
    mistakes.found += [*extra_problems(file, wrong), *refusals(linked, loaded, folder, wrong)]
    if mistakes.found:
        raise ConfigError(mistakes.found)
    return Blueprint(
        linked=linked, loaded=loaded, source=source, known=known, keys=keys, demo=path is None
    )


def _files(file: File, source: Source) -> dict[Path, Mark]:
    """Every file that a configuration is made of, as it was before it was read: includes, key files
    and certificates too.

    What half a change of these made wrong is read again at the other half.
    """
    keys = {each.file for each in _key_files(file)}
    jwks = [each.jwks for each in file.auth.jwt.values()]
    keys |= {each.file for each in jwks if not isinstance(each, str)}
    tls = file.listen.tls
    keys |= {tls.cert, tls.key} if tls is not None else set()
    return {**{path: mark_of(path) for path in keys}, **source.marks}


def _known(loaded: Loaded, local: Mapping[str, Model]) -> Known:
    return Known(
        modalities=loaded.modalities,
        families=list(loaded.dialects),
        units=UnitTable.of({name: each.units for name, each in loaded.modalities.items()}),
        owners={name: origin.name for name, origin in loaded.owners.items()},
        policies={name: kind for name, (_, kind) in loaded.policies.items()},
        scorers={name: kind for name, (_, kind) in loaded.scorers.items()},
        sinks={name: kind.config_type for name, (_, kind) in loaded.sinks.items()},
        authenticators={name: kind for name, (_, kind) in loaded.authenticators.items()},
        discoverers={name: kind.config_type for name, (_, kind) in loaded.discoverers.items()},
        local=local,
        metered=FAMILIES.keys(),
    )


def _enabled(
    file: File, found: Installed, extra: Mapping[str, ModuleType], mistakes: Mistakes
) -> list[str]:
    """The plugins that the file switches on; in place of an unknown one, what was meant."""
    names: list[str] = []
    for name in file.plugin:
        if name in extra:
            names.append(name)
            continue
        try:
            wanted(found, [name])
            names.append(name)
        except PluginError as error:
            guess = close_to(name, {*found.plugins, *extra} - set(file.plugin))
            text = f"{error}{did_you_mean(name, [guess] if guess else [])}"
            mistakes.wrong(("plugin", name), text)
            names += [guess] if guess and guess not in names else []
    return names


def _only(names: list[str], only: Sequence[str] | None, mistakes: Mistakes) -> list[str]:
    """The fileless start's plugins; names of `--only` that are none are mistakes."""
    if only is None:
        return names
    for name in only:
        if name not in names:
            text = f"'{name}' is not installed{did_you_mean(name, names)}"
            text += f"; installed: {', '.join(names) or 'none'}"
            mistakes.found.append(Problem(message=text, path="--only", file=COMMAND_LINE))
    return [name for name in names if name in only]


def _opened(file: File, source: Source, mistakes: Mistakes) -> list[tuple[str, StoredKey]]:
    """The files that the configuration names, read as serving reads them; the tenants' keys."""
    tls = file.listen.tls
    if tls is not None:
        try:
            Tls(TlsFiles(cert=tls.cert, key=tls.key))
        except Unusable as error:
            mistakes.wrong(("listen", "tls", error.which), str(error))
    for index, entry in enumerate(file.fetch.allow):
        try:
            Allowed.of([entry])
        except ValueError as error:
            mistakes.wrong(("fetch", "allow", index), str(error))

    def wrong(at: tuple[str, ...], message: str) -> Problem:
        return source.problem((*at, "file"), message)

    return read_keys(_key_files(file), wrong, mistakes.found)


def _key_files(file: File) -> list[KeyFile]:
    """The files of keys that a configuration names."""
    named = {name: each.keys.file for name, each in file.tenant.items() if each.keys is not None}
    return key_files(named, file.admin.keys.file if file.admin.keys is not None else None)
