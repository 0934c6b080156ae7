"""A plugin's life up to serving: imported, asked, built and checked.  Requests never come through
here.

pluggy is used at start-up only: it checks hook names and signatures.  Hooks are asked one plugin at
a time, in the operator's order, because `pm.hook.x()` loses who answered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import ModuleType
from typing import TypeVar

import pluggy
from pydantic import BaseModel

from modgate import hookspecs
from modgate.api.authenticator import AnyAuthenticator
from modgate.api.dialect import Dialect
from modgate.api.discover import AnyDiscoverer
from modgate.api.engine import LocalEngine
from modgate.api.modality import AnyModality, Endpoint, Modality
from modgate.api.policy import AnyPolicy
from modgate.api.scorer import AnyAdviser
from modgate.api.shipment import LedgerSink
from modgate.api.surface import Surface
from modgate.host import kinds
from modgate.host.blame import Culprits, blamed
from modgate.host.check import check
from modgate.host.installed import Installed, Origin, wanted
from modgate.host.kinds import Kinds, brought, declares, unique
from modgate.problems import PluginError

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("modgate_"))
T = TypeVar("T")
EVENT_AT_MOST = 4096  # bytes of what a surface says by itself in each of its streams
EACH_AT_MOST = 1000  # classes, or endpoints: a generator without an end would hold the start up
Validate = Callable[[str, type[BaseModel]], BaseModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the enabled plugins brought, checked.

    Maps are by name; `owners`: modality -> plugin; `speakers` and `hosts`: whose dialects and
    surfaces they are, where a plugin brings them.
    """

    plugins: Sequence[Origin]
    modalities: Mapping[str, AnyModality]
    dialects: Mapping[tuple[str, str], type[Dialect]]
    engines: Mapping[str, Sequence[type[LocalEngine]]]
    surfaces: Mapping[str, Surface]
    endpoints: Sequence[tuple[str, Endpoint]]
    owners: Mapping[str, Origin] = field(default_factory=dict)
    speakers: Mapping[tuple[str, str], Origin] = field(default_factory=dict)
    hosts: Mapping[str, Origin] = field(default_factory=dict)
    culprits: Culprits = field(default_factory=Culprits)
    policies: Kinds[AnyPolicy] = field(default_factory=dict)
    scorers: Kinds[AnyAdviser] = field(default_factory=dict)
    sinks: Kinds[LedgerSink] = field(default_factory=dict)
    authenticators: Kinds[AnyAuthenticator] = field(default_factory=dict)
    discoverers: Kinds[AnyDiscoverer] = field(default_factory=dict)


def import_plugins(
    installed: Installed, names: Iterable[str], extra: Mapping[str, ModuleType] | None = None
) -> list[tuple[Origin, ModuleType]]:
    """Import the enabled plugins, in order.  `extra`: modules that are no entry points (tests)."""
    more = extra or {}
    modules: list[tuple[Origin, ModuleType]] = []
    for name in names:
        if name in more:
            modules.append((Origin(name=name, distribution=name, version="0"), more[name]))
            continue
        [(origin, point)] = wanted(installed, [name])
        with blamed(origin, f"the import of {point.value}"):
            modules.append((origin, point.load()))
    return modules


def few(found: Iterable[T]) -> list[T]:
    """What a plugin answers, up to one more than is allowed: so the caller sees that it is too
    much."""
    return list(islice(found, EACH_AT_MOST + 1))


def _places(module: ModuleType) -> list[str]:
    """Where a plugin's code lies: the folders of its package, or its one file."""
    folders = [f"{folder}{os.sep}" for folder in getattr(module, "__path__", ())]
    return folders or list(filter(None, [getattr(module, "__file__", None)]))


class Host:
    """Asks the hooks of imported plugins."""

    def __init__(self, modules: Sequence[tuple[Origin, ModuleType]]) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._origins = {origin.name: origin for origin, _ in modules}
        self.places = {place: origin for origin, module in modules for place in _places(module)}
        for origin, module in modules:
            try:
                self._manager.register(module, origin.name)
                self._manager.check_pending()
            except (pluggy.PluginValidationError, ValueError) as error:
                raise PluginError(str(origin), f"does not fit the API: {error}") from error
            asked = {caller.name for caller in self._manager.get_hookcallers(module) or ()}
            for name in HOOKS:
                if name in vars(module) and name not in asked:
                    text = f"has a {name} without the mark @modgate.plugin.hookimpl"
                    raise PluginError(str(origin), text)
            if not asked:
                raise PluginError(str(origin), f"answers no hook; known: {', '.join(HOOKS)}")

    @property
    def origins(self) -> list[Origin]:
        """The plugins, in the operator's order."""
        return list(self._origins.values())

    def ask(self, hook: str) -> Iterator[tuple[Origin, type]]:
        """Every class that a hook was answered with, and whose it is."""
        caller = getattr(self._manager.hook, hook)
        by_name = {impl.plugin_name: impl for impl in caller.get_hookimpls()}
        for name, origin in self._origins.items():
            impl = by_name.get(name)
            if impl is None:
                continue
            with blamed(origin, hook):
                answer = impl.function()
                found = few(answer) if isinstance(answer, Iterable) else None
            if found is not None and len(found) > EACH_AT_MOST:
                raise PluginError(str(origin), f"answered {hook} with over {EACH_AT_MOST} classes")
            for kind in [answer] if found is None else found:
                if found is None or not isinstance(kind, type):
                    text = f"answered {hook} with {kind!r:.100}; a list of classes is wanted"
                    raise PluginError(str(origin), text)
                yield origin, kind


def load(
    host: Host,
    validate: Validate,
    surfaces: Mapping[str, Surface],
    sinks: Mapping[str, type[LedgerSink]] | None = None,
    discoverers: Mapping[str, type[AnyDiscoverer]] | None = None,
) -> Loaded:
    """Ask, build and check; `surfaces`, `sinks`, `discoverers`: those of the core.

    `validate(plugin, type)` gives the plugin's own section as its type.
    """
    modalities: dict[str, AnyModality] = {}
    owners: dict[str, Origin] = {}
    for origin, kind in host.ask("modgate_modalities"):
        with blamed(origin, kind.__name__):
            made = _built(origin, kind, validate)
            unique(origin, "modality", made.name, owners)
        modalities[made.name], owners[made.name] = made, origin
    spoken, hosts = dict(surfaces), dict[str, Origin]()
    for origin, kind in host.ask("modgate_surfaces"):
        with blamed(origin, kind.__name__):
            surface = _surface(origin, kind)
            unique(origin, "surface", surface.name, spoken)
        spoken[surface.name], hosts[surface.name] = surface, origin
    dialects, speakers = _dialects(host, owners)
    engines = _engines(host, dialects)
    endpoints = [
        (name, endpoint)
        for name, made in modalities.items()
        for endpoint in _endpoints(owners[name], made)
    ]
    check(modalities, owners, endpoints, spoken)
    return Loaded(
        plugins=host.origins,
        modalities=modalities,
        dialects=dialects,
        engines=engines,
        surfaces=spoken,
        endpoints=endpoints,
        owners=owners,
        speakers=speakers,
        hosts=hosts,
        culprits=Culprits(places=host.places, owners=owners, speakers=speakers),
        policies=brought("policy", host.ask("modgate_policies"), kinds.policy),
        scorers=brought("scorer", host.ask("modgate_scorers"), kinds.scorer),
        sinks=brought("sink", host.ask("modgate_sinks"), kinds.sink, sinks),
        authenticators=brought(
            "authenticator", host.ask("modgate_authenticators"), kinds.authenticator
        ),
        discoverers=brought(
            "discoverer", host.ask("modgate_discoverers"), kinds.discoverer, discoverers
        ),
    )


def _engines(
    host: Host, dialects: Container[tuple[str, str]]
) -> dict[str, list[type[LocalEngine]]]:
    """The local engines by modality; each speaks a dialect that somebody brings."""
    engines: dict[str, list[type[LocalEngine]]] = {}
    for origin, kind in host.ask("modgate_local_engines"):
        with blamed(origin, kind.__name__):
            if not issubclass(kind, LocalEngine):
                raise PluginError(str(origin), f"{kind.__name__} is not a LocalEngine")
            declares(origin, kind, "modality", "model")
            if (kind.modality, kind.family) not in dialects:
                text = f"brings an engine of {kind.modality} in an unknown family '{kind.family}'"
                raise PluginError(str(origin), text)
            engines.setdefault(kind.modality, []).append(kind)
    return engines


def _built(origin: Origin, kind: type, validate: Validate) -> AnyModality:
    if not issubclass(kind, Modality):
        raise PluginError(str(origin), f"{kind.__name__} is not a Modality")
    declares(origin, kind, "name", "units", "weights", "config_type")
    config = validate(origin.name, kind.config_type)
    with blamed(origin):
        made = kind(config)
    if getattr(made, "config", None) is not config:
        text = f"{kind.__name__}: '__init__' must call super().__init__(config)"
        raise PluginError(str(origin), text)
    return made


def _surface(origin: Origin, kind: type) -> Surface:
    if not issubclass(kind, Surface) or not kind.name:
        raise PluginError(str(origin), f"{kind.__name__} is not a Surface with a name")
    if kind.error_body is Surface.error_body:
        raise PluginError(str(origin), f"{kind.__name__} has no 'error_body'")
    for name in ("keep_alive", "done"):
        said: object = getattr(kind, name)
        if not isinstance(said, bytes) or len(said) > EVENT_AT_MOST:
            text = f"{kind.__name__} has a '{name}' that is not bytes, {EVENT_AT_MOST} at most"
            raise PluginError(str(origin), text)
    with blamed(origin):
        return kind()


def _endpoints(origin: Origin, modality: AnyModality) -> list[Endpoint]:
    with blamed(origin, "endpoints"):
        found = few(modality.endpoints())
    if len(found) > EACH_AT_MOST:
        text = f"has over {EACH_AT_MOST} endpoints of {modality.name}"
        raise PluginError(str(origin), text)
    if not all(isinstance(each, Endpoint) for each in found):
        raise PluginError(str(origin), f"has endpoints of {modality.name} that are no Endpoint")
    return found


def _dialects(
    host: Host, owners: Mapping[str, Origin]
) -> tuple[dict[tuple[str, str], type[Dialect]], dict[tuple[str, str], Origin]]:
    """Declared ones, and the plain home wire for every modality that brings none of its own.

    The home wire is of the distribution that brings the modality: a class that lacks a family is by
    default of it.
    """
    found: dict[tuple[str, str], type[Dialect]] = {}
    speakers: dict[tuple[str, str], Origin] = {}
    for origin, kind in host.ask("modgate_dialects"):
        with blamed(origin, kind.__name__):
            if not issubclass(kind, Dialect) or not kind.modality:
                raise PluginError(str(origin), f"{kind.__name__} is not a Dialect with a modality")
            owner = owners.get(kind.modality)
            own = owner is not None and owner.distribution == origin.distribution
            if not kind.family or (kind.family == "home" and not own):
                text = f"needs a 'family' of its own: '{kind.family}' is no name for it"
                raise PluginError(str(origin), f"{kind.__name__} {text}")
            if not str(kind.probe).startswith("/"):
                text = f"{kind.__name__} has the health path '{kind.probe}', which begins with no /"
                raise PluginError(str(origin), text)
            key = kind.modality, kind.family
            if key in found:
                text = f"brings a second dialect '{kind.family}' of {kind.modality}"
                raise PluginError(str(origin), f"{text}: the first is of {speakers[key]}")
            found[key], speakers[key] = kind, origin
    for name in owners:
        found.setdefault((name, "home"), Dialect)
    return found, speakers
