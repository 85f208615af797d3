"""`servey call --token` and `--as-scope`: as somebody, whom the access control lets in or not."""

import asyncio

import pytest

from servey.action.action import action
from servey.errors import ForbiddenError, UnauthorizedError
from servey.plugin import Plugin
from servey.security.access_control import ALLOW_NONE, ScopeAccessControl
from servey.security.authorization import Authorization


class Tokens(Plugin):
    """Takes one token, ``good``, which allows to read."""

    def authorizers(self):
        return (self,)

    async def authorize(self, token):
        if token != "good":
            raise UnauthorizedError("no such token", error="invalid_token")
        return Authorization("ann", frozenset({"read"}))


class OnlyAnn:
    async def check(self, authorization):
        await asyncio.sleep(0)
        if authorization is None or authorization.subject != "ann":
            raise ForbiddenError("this is Ann's")


@action
def who(authorization: Authorization | None) -> str:
    return "nobody" if authorization is None else f"{authorization.subject} {sorted(authorization.scopes)}"


@action(access_control=ScopeAccessControl("read"))
def read(authorization: Authorization) -> str:
    return f"{authorization.subject} reads"


@action(access_control=ScopeAccessControl("write"))
def write() -> str:
    return "written"


@action(access_control=OnlyAnn())
def diary() -> str:
    return "Dear diary"


@action(access_control=ALLOW_NONE)
def nobody() -> str:
    return "run"


ACTIONS = (who, read, write, diary, nobody)


@pytest.fixture
def call(servey):
    return lambda *words: servey("call", *words, actions=ACTIONS, plugins=[Tokens()])


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["who"], "nobody"),
        (["who", "--token", "good"], "ann ['read']"),
        (["who", "--as-scope", "a", "--as-scope", "b"], "cli ['a', 'b']"),
        (["read", "--token", "good"], "ann reads"),
        (["read", "--as-scope", "read"], "cli reads"),
        (["read", "--as-scope", "read", "--as-subject", "ann"], "ann reads"),
        (["who", "--as-subject", "ann"], "ann []"),
        (["write"], "written"),
        (["write", "--as-scope", "write"], "written"),
        (["diary", "--token", "good"], "Dear diary"),
        (["nobody"], "run"),
    ],
)
def test_an_action_is_called_as_who_is_named(call, words, out):
    assert call(*words) == (0, f'"{out}"\n', "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["who", "--token", "bad"], "unauthorized: no such token"),
        (["write", "--token", "bad"], "unauthorized: no such token"),
        (["who", "--token", ""], "unauthorized: no such token"),
        (["write", "--token", "good"], "forbidden: this needs the scope 'write'"),
        (["write", "--as-scope", "read"], "forbidden: this needs the scope 'write'"),
        (["diary", "--as-scope", "root"], "forbidden: this is Ann's"),
        (["nobody", "--token", "good"], "forbidden"),
        (["read"], "--token TOKEN, or --as-scope SCOPE"),
    ],
)
def test_who_may_not_is_told_so(call, words, told):
    done = call(*words)
    assert (done.code, done.out) == (77, "")
    assert told in done.err


def test_without_anything_that_verifies_no_token_is_good(servey):
    done = servey("call", "who", "--token", "good", actions=[who], plugins=[NoTokens()])
    assert (done.code, done.out) == (77, "")


class NoTokens(Tokens):
    async def authorize(self, token):
        raise UnauthorizedError(error="invalid_token")


@pytest.mark.parametrize(
    "words",
    [
        ["--token", "good", "--as-scope", "read"],
        ["--token", "good", "--as-subject", "ann"],
        ["--as-scope", "two words"],
        ["--as-scope", ""],
        ["--token", "@no.such.file"],
    ],
)
def test_what_names_nobody_is_refused_before_anything_runs(call, words):
    done = call("who", *words)
    assert (done.code, done.out) == (66 if "@no.such.file" in words else 64, "")


def test_a_token_may_be_in_a_file(call, tmp_path):
    (tmp_path / "token").write_text("good\n")
    assert call("read", "--token", f"@{tmp_path / 'token'}").out == '"ann reads"\n'


def test_a_wrong_caller_learns_nothing_of_the_arguments(servey):
    @action(access_control=ScopeAccessControl("write"))
    def add(number: int) -> int:
        return number

    done = servey("call", "add", "--number", "x", "--as-scope", "read", actions=[add])
    assert (done.code, "number" in done.err) == (77, False)


def test_parameters_of_the_same_names_have_flags_of_their_own(servey):
    @action
    def paint(token: str, as_scope: str) -> str:
        return f"{token} {as_scope}"

    assert servey("call", "paint", "--param-token", "a", "--param-as-scope", "b", actions=[paint]).out == '"a b"\n'
