"""`[scorer.*]` sections: each mistake at its line, and what is left out is the scorer's own."""

from __future__ import annotations

from made_configs import Config

from modgate.api.scorer import EVERY_SCORER
from modgate.config.schema_kinds import ScorerSection

WORDS = '[plugin.words]\n[plugin.advice]\n[model.chat]\nmodality = "words"\n'


def test_sections_are_linked_in_the_order_of_the_file(config: Config) -> None:
    found = config.link(
        WORDS + '[scorer.zeta]\nkind = "cool"\nbudget = "2ms"\nweight = 2\ndegrees = 70\n'
        '[scorer.kept-apart]\ntenant = "acme"\nhardware = "h100"\nmodels = ["chat"]\n'
    ).scorers
    zeta, kept = found

    assert [each.name for each in found] == ["zeta", "kept-apart"]
    assert (zeta.kind, zeta.budget_s, zeta.weight) == ("cool", 0.002, 2.0)
    assert zeta.config.model_dump() == {"degrees": 70.0, "factor": 3.0}
    assert (kept.kind, kept.budget_s, kept.models) == ("kept-apart", 0.001, {"chat"})


def test_mistakes_are_told_at_their_lines(config: Config) -> None:
    told = config.told(
        WORDS + '[scorer.cold]\n[scorer.cool]\nfactor = 0\nweihgt = 2\nmodels = ["chta"]\n'
    )

    assert [line.partition(": Input")[0] for line in told] == [
        "modgate.toml:5: scorer.cold: no enabled plugin brings the scorer 'cold'; "
        "did you mean 'cool'?; known: cool, kept-apart, says",
        "modgate.toml:7: scorer.cool.factor",
        "modgate.toml:8: scorer.cool.weihgt: unknown key; did you mean 'weight'?",
    ]


def test_the_keys_of_every_section_are_known_to_authors() -> None:
    assert ScorerSection.model_fields.keys() == EVERY_SCORER


def test_a_region_that_is_away_is_one_in_which_a_backend_stands(config: Config) -> None:
    engine = '[[backend]]\nname = "b"\nurl = "http://b"\nregion = "us"\nserves = { chat = "c" }\n'
    text = WORDS + engine + '[select]\naway = { us = "80ms" }\n'
    found = config.link(text).file.select.away
    told = config.told(text.replace("us =", "uss ="))

    assert found == {"us": 0.08}
    assert told == [
        "modgate.toml:11: select.away.uss: no backend stands in 'uss'; did you mean 'us'?"
    ]
