"""Who the caller is and what they may do."""

import asyncio
import inspect
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from servey import WEB_GET
from servey.action.action import action
from servey.cli.listing import _row
from servey.errors import DefinitionError, ForbiddenError, InternalError, UnauthorizedError
from servey.ports import AccessControl
from servey.security.access_control import ALLOW_ALL, ALLOW_NONE, AllOf, AnyOf, ScopeAccessControl, described
from servey.security.authorization import Authorization
from servey.servey_uvicorn.banner import banner, outline
from servey.service import Service

ME = Authorization("me")
ROOT = Authorization("root", frozenset({"root", "other"}))


@pytest.mark.parametrize("control", [ALLOW_ALL, ALLOW_NONE, ScopeAccessControl("root")])
def test_every_access_control_is_one(control):
    assert isinstance(control, AccessControl)


def test_everybody_passes_the_open_one():
    assert [ALLOW_ALL.check(who) for who in (None, ME, ROOT)] == [None] * 3


def test_nobody_passes_the_closed_one():
    with pytest.raises(UnauthorizedError) as caught:
        ALLOW_NONE.check(None)
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}
    with pytest.raises(ForbiddenError):
        ALLOW_NONE.check(ROOT)


def test_a_scope_is_needed_and_named():
    control = ScopeAccessControl(execute_scope="root")
    assert control.check(ROOT) is None
    with pytest.raises(UnauthorizedError) as caught:
        control.check(None)
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}
    with pytest.raises(ForbiddenError) as caught:
        control.check(ME)
    assert caught.value.headers == {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="root"'}


@pytest.mark.parametrize("scopes", [{"roo"}, {"root "}, {"ROOT"}, {"rootx"}, {"r", "o", "t"}, set()])
def test_a_scope_that_resembles_it_will_not_do(scopes):
    with pytest.raises(ForbiddenError):
        ScopeAccessControl("root").check(Authorization("me", frozenset(scopes)))


@pytest.mark.parametrize("scope", ["", "a b", 'a"b', "a\\b", "a\nb", "é", "a\x7f", " a"])
def test_a_scope_is_one_token_of_rfc_6749(scope):
    with pytest.raises(DefinitionError) as caught:
        ScopeAccessControl(scope)
    assert repr(scope) in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("scope", ["root", "https://example.com/a.read", "urn:x:y", "a!#$%&'()*+,-./:;<=>?@[]^_`{|}~"])
def test_a_scope_may_be_anything_of_rfc_6749(scope):
    assert ScopeAccessControl(scope).check(Authorization("me", frozenset({scope}))) is None


def test_it_says_whom_it_lets_in_for_examples():
    control = ScopeAccessControl("root")
    assert control.check(control.example_authorization()) is None


def test_access_controls_read_well():
    assert list(map(repr, (ALLOW_ALL, ALLOW_NONE, ScopeAccessControl("root")))) == ["open", "nobody", "scope root"]


def test_an_authorization_is_a_value():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    one = Authorization("me", frozenset({"a"}), "issuer", moment, moment, {"x": 1})
    assert one == Authorization("me", frozenset({"a"}), "issuer", moment, moment, {"x": 1})
    assert one != Authorization("you", frozenset({"a"}), "issuer", moment, moment, {"x": 1})
    with pytest.raises(AttributeError):
        one.subject = "you"


def test_an_authorization_of_nothing_may_nothing():
    nobody = Authorization()
    assert (nobody.subject, nobody.scopes, nobody.issuer, nobody.not_before, nobody.expires_at, nobody.claims) == (
        None,
        frozenset(),
        None,
        None,
        None,
        {},
    )
    assert not nobody.has_scope("")


# --- several together -----------------------------------------------------------------------------------------------


class Asynchronous:
    """The same as another access control, a moment later."""

    def __init__(self, control):
        self.control = control

    def __repr__(self):
        return f"{self.control}, later"  # the name of a test, the same in every process

    async def check(self, authorization):
        await asyncio.sleep(0)
        return self.control.check(authorization)


class Wrong:
    def __init__(self, outcome):
        self.outcome = outcome

    def check(self, authorization):
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def checked(control, authorization):
    """What a check comes to: None, or the class and the challenge of what it raises."""

    async def main():
        outcome = control.check(authorization)
        return await outcome if inspect.isawaitable(outcome) else outcome

    try:
        return asyncio.run(main())
    except (UnauthorizedError, ForbiddenError) as error:
        return type(error), error.headers.get("WWW-Authenticate")


A, B, C = (ScopeAccessControl(scope) for scope in "abc")
NO_CALLER = (UnauthorizedError, "Bearer")


def lacks(scope):
    return ForbiddenError, f'Bearer error="insufficient_scope", scope="{scope}"'


COMBINED = [
    (AllOf(A, B), "", lacks("a b")),
    (AllOf(A, B), "a", lacks("a b")),
    (AllOf(A, B), "ab", None),
    (AnyOf(A, B), "", lacks("a")),
    (AnyOf(A, B), "b", None),
    (AnyOf(A, B), "c", lacks("a")),
    (AnyOf(AllOf(A, B), C), "a", lacks("a b")),
    (AnyOf(AllOf(A, B), C), "", lacks("c")),
    (AnyOf(AllOf(A, B), C), "c", None),
    (AllOf(AnyOf(A, B), C), "b", lacks("b c")),
    (AllOf(AnyOf(A, B), C), "bc", None),
    (AllOf(ALLOW_ALL, A), "", lacks("a")),
    (AllOf(ALLOW_ALL, A), "a", None),
    (AnyOf(ALLOW_ALL, A), "", None),
    (AnyOf(ALLOW_NONE, A), "", lacks("a")),
    (AnyOf(ALLOW_NONE, A), "a", None),
    (AllOf(A, ALLOW_NONE), "a", (ForbiddenError, None)),
    (AnyOf(ALLOW_NONE, ALLOW_NONE), "a", (ForbiddenError, None)),
]


@pytest.mark.parametrize("wrap", [lambda control: control, Asynchronous], ids=["sync", "async"])
@pytest.mark.parametrize(("control", "scopes", "expected"), COMBINED, ids=repr)
def test_several_let_in_together(control, scopes, expected, wrap):
    def wrapped(item):
        return type(item)(*map(wrapped, item.members)) if isinstance(item, AllOf | AnyOf) else wrap(item)

    given = wrapped(control)
    outcome = checked(given, Authorization("me", frozenset(scopes)))
    if wrap is Asynchronous and expected is not None and expected[1]:
        assert outcome[0] is expected[0], "what is wrapped says nothing of its scopes"
    else:
        assert outcome == expected
    if not (isinstance(control, AnyOf) and ALLOW_ALL in control.members):
        assert checked(given, None) == NO_CALLER
    else:
        assert checked(given, None) is None


def test_synchronous_ones_stay_so_together():
    assert AllOf(A, AnyOf(B, ALLOW_ALL)).check(Authorization("me", frozenset("a"))) is None
    waiting = AllOf(A, Asynchronous(B)).check(Authorization("me", frozenset("ab")))
    assert asyncio.run(asyncio.wait_for(waiting, 60)) is None


@pytest.mark.parametrize("outcome", [True, False, 0, ValueError("a defect"), InternalError()])
@pytest.mark.parametrize("combine", [AllOf, AnyOf])
def test_a_defect_of_one_lets_nobody_in(combine, outcome):
    everything = Authorization("me", frozenset("abc"))
    with pytest.raises((TypeError, ValueError, InternalError)):
        checked(combine(Wrong(outcome), A), everything)
    with pytest.raises((TypeError, ValueError, InternalError)):
        checked(combine(Asynchronous(Wrong(outcome)), A), everything)


def test_a_refusal_for_another_reason_is_told_as_it_is():
    hidden = ForbiddenError("only on Mondays")
    assert checked(AllOf(A, Wrong(hidden)), Authorization("me", frozenset("a"))) == (ForbiddenError, None)
    assert checked(AnyOf(Wrong(hidden), A), ME) == lacks("a")


@pytest.mark.parametrize(
    ("control", "alternatives"),
    [
        (A, ("a",)),
        (AnyOf(A, B), ("a", "b")),
        (AllOf(A, B), ("ab",)),
        (AllOf(AnyOf(A, B), C), ("ac", "bc")),
        (AnyOf(AllOf(A, B), C), ("ab", "c")),
        (AnyOf(A, A), ("a",)),
        (AnyOf(A, Asynchronous(B)), ("a", "")),
        (AllOf(A, Asynchronous(B)), ("a",)),
        (AnyOf(ALLOW_NONE, A), ("a",)),
        (AllOf(ALLOW_NONE, A), ()),
    ],
    ids=repr,
)
def test_the_scopes_that_are_needed_are_said_as_alternatives(control, alternatives):
    assert control.required_scopes() == tuple(map(frozenset, alternatives))


def test_alternatives_that_multiply_are_limited():
    many = [AnyOf(*(ScopeAccessControl(f"s{i}-{j}") for j in range(10))) for i in range(10)]
    assert len(AllOf(*many).required_scopes()) == 100


class Counted:
    """Counts how often it is asked for its scopes, of which there are several."""

    asked = 0

    def check(self, authorization):
        raise ForbiddenError("not this", scope="a")

    def required_scopes(self):
        self.asked += 1
        return tuple(map(frozenset, "abc"))


def test_alternatives_are_made_once_and_by_few_steps_however_many_refusals_there_are():
    counted = Counted()
    control = AllOf(counted, *(AnyOf(A, B, C) for _ in range(30)))  # 3 to the power of 31, of which 7 differ
    for _ in range(3):
        assert checked(control, ME) == lacks("a")
    assert control.required_scopes() == tuple(map(frozenset, ("a", "ab", "ac", "abc", "b", "bc", "c")))
    assert counted.asked == 1


@pytest.mark.parametrize("control", [AllOf(A, B), AnyOf(A, B), AllOf(AnyOf(A, B), C), AnyOf(ALLOW_NONE, A)], ids=repr)
def test_an_example_is_let_in_by_all_that_have_to(control):
    assert checked(control, control.example_authorization()) is None


@pytest.mark.parametrize("members", [(), (None,), (ScopeAccessControl,), ("root",), (A, object())])
def test_what_is_no_access_control_is_refused(members):
    for combine in (AllOf, AnyOf):
        with pytest.raises(DefinitionError):
            combine(*members)


def test_combinations_are_values_and_read_well():
    assert AllOf(A, B) == AllOf(A, B) != AnyOf(A, B)
    assert len({AllOf(A, B), AllOf(A, B), AllOf(B, A)}) == 2
    assert repr(AnyOf(AllOf(A, B), C)) == "(scope a and scope b) or scope c"
    assert isinstance(AnyOf(A), AccessControl)


@dataclass(frozen=True)
class InDatabase:
    url: str

    def check(self, authorization):
        raise ForbiddenError("not in the database", scope="known")

    def required_scopes(self):
        return (frozenset({"known"}),)


SECRET = InDatabase("postgresql://servey:swordfish@db/users")


@pytest.mark.parametrize("control", [AllOf(A, SECRET), AnyOf(SECRET, A), AnyOf(AllOf(A, SECRET), B)], ids=repr)
def test_nothing_shows_what_a_users_access_control_was_made_with(control):
    assert "swordfish" in repr(SECRET)
    with pytest.raises(ForbiddenError) as caught:
        control.check(Authorization("me", frozenset("x")))
    assert "swordfish" not in f"{caught.value} {caught.value.detail} {caught.value.headers} {control}"
    assert described(SECRET) == "InDatabase"
    assert "InDatabase" in described(control)
    assert "InDatabase" not in str(caught.value.detail)


def test_a_banner_and_a_list_show_a_users_access_control_by_its_class():
    @action(triggers=(WEB_GET,), access_control=SECRET)
    def find() -> None: ...

    service = Service([find])
    told = "\n".join(banner(service, 8000)) + str(outline(service)) + str(_row(service, service.operations["find"]))
    assert told.count("InDatabase") == 3
    assert "swordfish" not in told


# --- the identity of a caller ---------------------------------------------------------------------------------------

DIFFERENT = [
    Authorization(),
    Authorization("me"),
    Authorization(None, issuer="me"),
    Authorization("me", issuer="a"),
    Authorization("me", frozenset({"a"})),
    Authorization("me", frozenset({"a", "b"})),
    Authorization("me", frozenset({"a b"})),
    *(
        Authorization("me", claims={"x": value})
        for value in (1, 1.0, True, "1", None, [1], [[1]], {"1": 1}, 2**64, 2**70, 2**70 + 1, -(2**63) - 1, 2.0**70)
    ),
    *(Authorization("me", claims={"x": text}) for text in ("\ud800", "\udfff", "é", "\u0065\u0301", "\\ud800")),
    Authorization("\ud800"),
    Authorization("me", claims={"\ud800": 1}),
    Authorization("me", claims={"x": 2**70, "y": 1}),
]


def test_no_two_callers_are_one():
    assert len({item.identity for item in DIFFERENT}) == len(DIFFERENT)
    assert {len(item.identity) for item in DIFFERENT} == {32}


@pytest.mark.parametrize("number", [1, 2**70])
def test_a_new_token_of_the_same_caller_is_the_same(number):
    def of(*names, **times):
        return Authorization("me", frozenset("ab"), claims={**dict.fromkeys(names, number), **times}).identity

    assert of("x", "y", exp=1, iat=1, nbf=1, jti="a") == of("y", "x", exp=2, iat=2, nbf=2, jti="b") == of("x", "y")
    assert of("x", "y", aud="a") != of("x", "y", aud="b")


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, ""),
        ({"scope": "b  a "}, "ab"),
        ({"scope": ["a"]}, "a"),
        ({"scp": "a b"}, "ab"),
        ({"scp": ["a"], "scope": "b"}, "ab"),
    ],
)
def test_claims_become_scopes(claims, scopes):
    assert Authorization.of_claims(claims).scopes == frozenset(scopes)


def test_claims_become_fields_and_the_rest_stays():
    claims = {"sub": "me", "iss": "a", "exp": 1.5, "nbf": 1, "iat": 1, "aud": "x", "scope": "a", "tenant": 7}
    assert Authorization.of_claims(claims) == Authorization(
        "me",
        frozenset("a"),
        "a",
        datetime.fromtimestamp(1, UTC),
        datetime.fromtimestamp(1.5, UTC),
        {"iat": 1, "aud": "x", "tenant": 7},
    )


@pytest.mark.parametrize(
    "claims", [{"sub": 1}, {"iss": None}, {"exp": "1"}, {"exp": float("nan")}, {"nbf": -1}, {"scope": None}, {"scp": 1}]
)
def test_claims_of_a_wrong_type_are_refused(claims):
    with pytest.raises(ValueError, match=next(iter(claims))):
        Authorization.of_claims(claims)
