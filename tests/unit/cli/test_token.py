"""``servey token``: a token on standard output, and nothing else."""

import asyncio
import time

import jwt
import pytest

from servey.plugin import Plugin
from servey.settings import Settings

SECRET = "a secret for tests of 32 bytes or more"
WITH_KEY = {"settings": Settings(jwt_secret_key=SECRET, jwt_lifetime=100)}


def claims_of(outcome):
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("\n") == 1
    claims = jwt.decode(outcome.out.strip(), SECRET, ["HS256"])
    assert abs(claims.pop("iat") - time.time()) < 60
    claims["exp"] = round(claims["exp"] - time.time(), -1)
    claims.pop("jti")
    return claims


def test_it_says_what_is_asked_for(servey):
    words = ("--subject=ada", "--scope", "read", "--scope=write", "--expires-in=50")
    more = ("--claim", "tenant=7", "--claim=name=Ada Lovelace", '--claim=tags=["a=b"]')
    assert claims_of(servey("token", *words, *more, **WITH_KEY)) == {
        "sub": "ada",
        "scope": "read write",
        "exp": 50,
        "tenant": 7,
        "name": "Ada Lovelace",
        "tags": ["a=b"],
    }
    assert claims_of(servey("--run=token", **WITH_KEY)) == {"exp": 100}


def test_it_signs_with_a_plugin_first(servey):
    class Issuer(Plugin):
        def authorizers(self):
            return (self,)

        async def authorize(self, token): ...

        def issue(self, authorization):
            return f"token of {authorization.subject}"

    assert servey("token", "--subject=ada", plugins=[Issuer()]).out == "token of ada\n"


def test_what_it_prints_is_taken(servey):
    token = servey("token", "--subject=ada", **WITH_KEY).out.strip()
    from servey.service import Service

    (authorizer,) = Service(**WITH_KEY).authentication.authorizers
    assert asyncio.run(authorizer.authorize(token)).subject == "ada"


def test_without_a_key_it_says_what_to_do(servey):
    outcome = servey("token")
    assert (outcome.code, outcome.out) == (78, "")
    assert "set JWT_SECRET_KEY" in outcome.err


@pytest.mark.parametrize(
    "word",
    ["--scope=a b", "--scope=", "--claim=x", "--claim==1", "--claim=exp=1", "--claim=sub=root", "--expires-in=0"],
)
def test_what_cannot_be_in_a_token_is_told(servey, word):
    outcome = servey("token", word, **WITH_KEY)
    assert (outcome.code, outcome.out) == (64, "")


@pytest.mark.parametrize("value", ["NaN", "x" * 20000, "[" * 30 + "]" * 30])
def test_what_no_token_can_say_is_told(servey, value):
    outcome = servey("token", f"--claim=x={value}", **WITH_KEY)
    assert (outcome.code, outcome.out) == (64, "")
    assert "the token cannot be made" in outcome.err


def test_it_signs_with_no_key_that_a_server_would_not_start_with(servey):
    outcome = servey("token", settings=Settings(environment="production", jwt_secret_key="short"))
    assert (outcome.code, outcome.out) == (78, "")
    assert "JWT_SECRET_KEY has 5 bytes" in outcome.err
