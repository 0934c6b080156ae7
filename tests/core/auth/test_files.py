from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rigs.doors import OTHER_STORED, STORED

from modgate.auth.files import key_files, read_keys
from modgate.auth.keys import StoredKey
from modgate.problems import Problem

OPERATOR = replace(STORED, id="operatorskey", role="operator")


def said(place: Path, staff: tuple[StoredKey, ...] = (), **tenants: tuple[StoredKey, ...]) -> str:
    """What is wrong with files of these keys, a line each."""
    files = {name: place / f"{name}.keys" for name in ("staff", *tenants)}
    for name, keys in {"staff": staff, **tenants}.items():
        files[name].write_text("# a comment\n" + "\n".join(key.line() for key in keys))
    found: list[Problem] = []

    def wrong(at: tuple[str, ...], message: str) -> Problem:
        return Problem(message=message, path=".".join(at))

    named = key_files({name: files[name] for name in tenants}, files["staff"])
    read_keys(named, wrong, found)
    return "\n".join(map(str, found)).replace(f"{place}{os.sep}", "")


def test_files_of_good_keys_have_no_problem(tmp_path: Path) -> None:
    twice = (STORED, replace(STORED, digest="0" * 64))

    assert said(tmp_path, (OPERATOR,), acme=twice, beta=(OTHER_STORED,)) == ""


def test_a_key_id_of_two_tenants_is_told_where_it_stands_the_second_time(tmp_path: Path) -> None:
    wrong = said(tmp_path, acme=(STORED,), beta=(OTHER_STORED, STORED))

    assert wrong == (
        f"beta.keys:3: tenant.beta.keys: key id {STORED.id} is tenant 'acme's already; "
        "make a new key"
    )


def test_a_third_digest_of_a_key_id_is_told_where_it_stands(tmp_path: Path) -> None:
    wrong = said(tmp_path, acme=tuple(replace(STORED, digest=f"{n:064x}") for n in range(3)))

    assert wrong.startswith(f"acme.keys:4: tenant.acme.keys: key id {STORED.id} has more than two")


def test_a_tenants_file_makes_no_operator_and_that_of_staff_no_tenant(tmp_path: Path) -> None:
    of_tenant, of_staff = said(tmp_path, (STORED,), acme=(OPERATOR,)).split("\n")

    assert of_tenant.startswith("acme.keys:2: tenant.acme.keys: a key of the role 'operator'")
    assert of_staff.startswith("staff.keys:2: admin.keys: its line needs role=operator or role=")
