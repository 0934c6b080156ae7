from __future__ import annotations

from modgate.auth.keyset import KeySet, Looked

FRESH_S, REVALIDATE_S, ERROR_S, COOLDOWN_S = 600.0, 4200.0, 86_400.0, 10.0  # RFD 35


def known() -> KeySet[str]:
    found: KeySet[str] = KeySet()
    found.asked(0.0)
    found.came({"a": "A"}, 0.0)
    return found


def test_keys_that_were_never_had_are_asked_for_first() -> None:
    found: KeySet[str] = KeySet()

    assert found.look("a", 0.0) == Looked(None, "first")
    assert not found.usable(0.0)


def test_fresh_keys_ask_nobody_then_they_ask_behind_then_first() -> None:
    found = known()

    assert found.look("a", FRESH_S - 1) == Looked("A", "no")
    assert found.look("a", FRESH_S) == Looked("A", "behind")
    assert found.look("a", REVALIDATE_S - 1) == Looked("A", "behind")
    assert found.look("a", REVALIDATE_S) == Looked("A", "first")


def test_when_the_issuer_does_not_answer_old_keys_are_used_for_a_day_and_no_longer() -> None:
    found = known()
    found.asked(ERROR_S - 1)

    assert found.look("a", ERROR_S - 0.5) == Looked("A", "no")
    assert found.usable(ERROR_S - 0.5)
    assert found.look("a", ERROR_S) == Looked(None, "no")
    assert not found.usable(ERROR_S)


def test_an_unknown_id_asks_once_in_the_cooldown_whoever_wants_what() -> None:
    found = known()
    asked = 0
    now = 100.0
    while now < 160.0:
        if found.look(f"made up at {now}", now).ask == "first":
            asked += 1
            found.asked(now)
            found.came({"a": "A"}, now)
        assert found.look("a", now) == Looked("A", "no")
        now += 0.01

    assert asked == 60 / COOLDOWN_S


def test_a_key_that_was_taken_away_or_changed_is_said() -> None:
    assert not known().came({"a": "A", "b": "B"}, 1.0)
    assert known().came({"b": "B"}, 1.0)
    assert known().came({"a": "another"}, 1.0)
