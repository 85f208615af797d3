"""Schemathesis, which makes documents from the GraphQL schema, finds nothing in the tour."""

import random
import sys
from pathlib import Path

import pytest

from support.length import length

pytestmark = pytest.mark.long


HOOKS = '''
"""What Schemathesis cannot know: how the scalars look, and which errors are the caller's."""

import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

numbers = st.decimals(min_value=0, max_value=40, places=2, allow_nan=False)
schemathesis.graphql.scalar("Decimal", numbers.map(str).map(nodes.String) | numbers.map(float).map(nodes.Float))
moments = st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat())
schemathesis.graphql.scalar("DateTime", moments.map(nodes.String))
schemathesis.graphql.scalar("BigInt", st.integers().map(nodes.Int))

CALLERS = {"invalid", "not_found", "conflict", "unauthorized", "forbidden", "illegal_step", "precondition_failed"}
CALLERS |= {"too_many_requests"}  # of a long run


@schemathesis.check
def answered(ctx, response, case):
    """The answer is a GraphQL response (GraphQL, September 2025, §7), and what failed is what the caller asked for."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"][0].startswith("application/json")
    body = response.json()
    assert body.keys() in ({"data"}, {"data", "errors"}, {"errors"}), body
    for error in body.get("errors", ()):
        assert error.keys() <= {"message", "locations", "path", "extensions"}, error
        assert error["message"]
        assert error["extensions"]["code"] in CALLERS, error
    assert "errors" not in body or body["errors"]
    assert body.get("data") is not None or body["errors"]
'''


def check(seed, call, tour, directory, *more):
    (directory / "hooks.py").write_text(HOOKS)
    program = Path(sys.executable).with_name("schemathesis")
    options = [
        "--checks=answered",
        "--phases=fuzzing",
        f"--seed={seed}",
        f"--max-examples={length(10, 100)}",
        "--no-color",
        *more,
    ]
    told = call([program, "run", f"{tour}/graphql", *options], directory, 1200, SCHEMATHESIS_HOOKS="hooks")
    assert "Tested: 21" in told, told


def test_schemathesis_finds_nothing_where_a_token_lets_it_in(call, tour, root_token, tmp_path):
    check(2, call, tour, tmp_path, "-H", f"Authorization: Bearer {root_token}")


def test_schemathesis_finds_nothing_without_a_token(call, tour, tmp_path):
    seed = length(3, random.SystemRandom().randrange(4, 10**6))
    check(seed, call, tour, tmp_path)
