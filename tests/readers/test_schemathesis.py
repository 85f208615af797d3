"""Schemathesis, which makes requests from the document and judges the answers by it, finds nothing in the tour."""

import random
import sys
from pathlib import Path

import pytest

from support.length import FULL, length

pytestmark = pytest.mark.long

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
SEEDS = [*range(1, 11), "chance"] if FULL else [1]


def check(seed, examples, call, tour, directory, *more):
    if seed == "chance":
        seed = random.SystemRandom().randrange(10**6)  # Schemathesis tells it in what it writes
    program = Path(sys.executable).with_name("schemathesis")
    options = ["--checks=all", f"--seed={seed}", f"--max-examples={examples}", "--no-color", *more]
    command = [program, "--config-file", HOOKS.with_name("schemathesis.toml"), "run", f"{tour}/openapi.json", *options]
    told = call(command, directory, 1200, SCHEMATHESIS_HOOKS=str(HOOKS))
    assert "Tested: 21" in told, told
    return told


@pytest.mark.parametrize("seed", SEEDS)
def test_schemathesis_finds_nothing(seed, call, tour, tmp_path):
    check(seed, length(15, 100), call, tour, tmp_path)


def test_schemathesis_finds_nothing_where_a_token_lets_it_in(call, tour, root_token, tmp_path):
    told = check(22, length(10, 100), call, tour, tmp_path, "-H", f"Authorization: Bearer {root_token}")
    assert "returned only 401/403" not in told, told
