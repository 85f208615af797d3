"""Schemathesis, which makes requests from the document and judges the answers by it, finds nothing in the tour."""

import random
import sys
from pathlib import Path

import pytest


def check(seed, call, tour, directory, *more):
    program = Path(sys.executable).with_name("schemathesis")
    options = ["--checks=all", f"--seed={seed}", "--max-examples=10", "--no-color", *more]
    told = call([program, "run", f"{tour}/openapi.json", *options], directory, 300)
    assert "Tested: 20" in told, told
    return told


@pytest.mark.parametrize("seed", range(1, 11))
def test_schemathesis_finds_nothing(seed, call, tour, tmp_path):
    check(seed, call, tour, tmp_path)


def test_schemathesis_finds_nothing_where_a_token_lets_it_in(call, tour, root_token, tmp_path):
    told = check(22, call, tour, tmp_path, "-H", f"Authorization: Bearer {root_token}")
    assert "returned only 401/403" not in told, told


def test_schemathesis_finds_nothing_with_a_seed_of_chance(call, tour, tmp_path, capsys):
    seed = random.SystemRandom().randrange(10**6)
    with capsys.disabled():
        print(f"\nschemathesis: seed {seed}")
    check(seed, call, tour, tmp_path)
