"""`[policy.*]` sections: each mistake at its line, and what is left out is the policy's own."""

from __future__ import annotations

from made_configs import Config

from modgate.api.policy import EVERY_SECTION
from modgate.config.schema_kinds import PolicySection

WORDS = '[plugin.words]\n[plugin.house]\n[model.chat]\nmodality = "words"\n'
BOTH = '[plugin.sounds]\n[model.ears]\nmodality = "sounds"\n' + WORDS


def test_sections_are_linked_in_the_order_of_the_file(config: Config) -> None:
    found = config.link(
        BOTH
        + '[policy.zeta]\nkind = "says"\nbudget = "2s"\non_failure = "open"\nshadow = true\n'
        '[policy.says]\nsays = "deny"\n'
        '[policy.asks]\nmodel = "ears"\ntenants = ["acme"]\n[tenant.acme]\n'.replace("ears", "chat")
    ).policies
    zeta, says, asks = found

    assert [each.name for each in found] == ["zeta", "says", "asks"]
    assert (zeta.kind, zeta.budget_s, zeta.on_failure, zeta.shadow) == ("says", 2.0, "open", True)
    assert (says.kind, says.budget_s, says.on_failure, says.shadow) == (
        *("says", 0.05, "closed", False),
    )
    assert says.config.model_dump()["says"] == "deny"
    assert says.models == {"chat", "ears"}
    assert says.tenants is None
    assert (asks.models, asks.tenants) == ({"chat"}, {"acme"})


def test_an_unknown_kind_is_guessed_at(config: Config) -> None:
    told = config.told(WORDS + '[policy.guard]\nkind = "sayz"\n[policy.sais]\n')

    assert told == [
        "modgate.toml:6: policy.guard.kind: no enabled plugin brings the policy 'sayz'; "
        "did you mean 'says'?; known: asks, says",
        "modgate.toml:7: policy.sais: no enabled plugin brings the policy 'sais'; "
        "did you mean 'says'?; known: asks, says",
    ]


def test_a_policys_own_keys_are_checked_beside_those_of_every_policy(config: Config) -> None:
    told = config.told(
        WORDS + '[policy.says]\nsays = "perhaps"\nshadwo = true\n[policy.asks]\nmodel = "chatt"\n'
    )

    assert [line.partition(": Input")[0] for line in told] == [
        "modgate.toml:6: policy.says.says",
        "modgate.toml:7: policy.says.shadwo: unknown key; did you mean 'shadow'?",
        "modgate.toml:9: policy.asks.model: 'chatt' is no words model; did you mean 'chat'?",
    ]


def test_models_must_be_there_and_understood(config: Config) -> None:
    told = config.told(BOTH + '[policy.asks]\nmodel = "chat"\nmodels = ["ears", "chta"]\n')

    assert told == [
        "modgate.toml:10: policy.asks.models[0]: the policy 'asks' is for models of words",
        "modgate.toml:10: policy.asks.models[1]: no [model.chta]; did you mean 'chat'?",
    ]


def test_a_typing_mistake_in_what_every_policy_has_is_told(config: Config) -> None:
    told = config.told(WORDS + '[policy.says]\non_failure = "ajar"\nbudget = "soon"\n')

    assert sorted(line.split(": ")[1] for line in told) == [
        "policy.says.budget",
        "policy.says.on_failure",
    ]


def test_the_keys_that_no_policy_may_take_are_those_of_the_section() -> None:
    assert PolicySection.model_fields.keys() == EVERY_SECTION
