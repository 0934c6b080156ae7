"""The hooks: asked once when a snapshot is built, in the operator's order; each answers with
classes.

All are plain functions; async belongs to the methods of what they return.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from modgate.api.authenticator import AnyAuthenticator
from modgate.api.dialect import Dialect
from modgate.api.discover import AnyDiscoverer
from modgate.api.engine import LocalEngine
from modgate.api.modality import AnyModality
from modgate.api.policy import AnyPolicy
from modgate.api.scorer import AnyAdviser
from modgate.api.shipment import LedgerSink
from modgate.api.surface import Surface

PROJECT = "modgate"
GROUP = "modgate.v1"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def modgate_modalities() -> Sequence[type[AnyModality]]:
    """The modalities that this plugin brings.

    When: once per snapshot, first.
    Arguments: none.
    Answer: classes, in a fixed order.
    Obligations: no I/O; names, units and endpoints must be unique over all enabled plugins.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this


@hookspec
def modgate_dialects() -> Sequence[type[Dialect]]:
    """How engine families spell a modality's home wire.

    When: after the modalities.
    Arguments: none.
    Answer: classes with `modality` and `family`; the modality may be another plugin's.
    Obligations: no I/O; (modality, family) must be unique.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this


@hookspec
def modgate_local_engines() -> Sequence[type[LocalEngine]]:
    """Local models that this plugin brings.

    When: after the dialects.
    Arguments: none.
    Answer: classes.
    Obligations: importing them loads no runtime; their
    methods run in a child process only.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this


@hookspec
def modgate_surfaces() -> Sequence[type[Surface]]:
    """What clients speak, besides openai, anthropic, cohere, mistral and voyage.

    When: before the endpoints are checked.
    Arguments: none.
    Answer: classes with a unique `name`.
    Obligations: no
    I/O; `error_body` never fails.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this


@hookspec
def modgate_policies() -> Sequence[type[AnyPolicy]]:
    """Policies that an operator may put before the engines.

    When: after the modalities; each class is built once for every `[policy.*]` section that names
    it.
    Arguments: none.
    Answer: classes with a unique `name`.
    Obligations: `decide` is pure and does no I/O.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this


@hookspec
def modgate_scorers() -> Sequence[type[AnyAdviser]]:
    """Filters and scorers: what an operator's own rules say of the backends of a call.

    When: after the policies; each class is built once for every `[scorer.*]` section that names it,
    and asked within each choice among several backends.
    Arguments: none.
    Answer: classes, each a Filter or a Scorer, with a unique `name`.
    Obligations: `keeps` and `scores` are pure, do no I/O, and take microseconds.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this


@hookspec
def modgate_sinks() -> Sequence[type[LedgerSink]]:
    """Where the ledger's rows may go, besides sqlite and postgres.

    When: after the policies; a class is built for every `[[ledger.sink]]` whose `kind` is its name,
    and again after each of its failures.
    Arguments: none.
    Answer: classes with a unique `name`.
    Obligations: `write` keeps rows and cursor together and for good before it returns, and passes
    over rows that are there already; a sink may do I/O, for it runs on a thread of its own.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this


@hookspec
def modgate_authenticators() -> Sequence[type[AnyAuthenticator]]:
    """Who knows callers by credentials that are neither keys of modgate's nor tokens of an issuer.

    When: after the modalities; each class is built once for every `[auth.plugin.*]` section that
    names it.
    Arguments: none.
    Answer: classes with a unique `name`.
    Obligations: `authenticate` is pure and does no I/O; what it must ask it yields as a Lookup.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this


@hookspec
def modgate_discoverers() -> Sequence[type[AnyDiscoverer]]:
    """How engines are found, besides `dns`, `file` and `kubernetes`.

    When: after the authenticators; a class is built for every `[[discover]]` whose `kind` is its
    name, and again when it broke.
    Arguments: none.
    Answer: classes with a unique `name`.
    Obligations: `discover` is a generator that does no I/O; what it must ask it yields, and each of
    its rounds waits for something.
    Since: 0.1.
    """
    raise NotImplementedError  # pluggy calls the plugins' own, never this
