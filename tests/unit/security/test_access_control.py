"""Who the caller is and what they may do."""

from datetime import UTC, datetime

import pytest

from servey.errors import DefinitionError, ForbiddenError, UnauthorizedError
from servey.ports import AccessControl
from servey.security.access_control import ALLOW_ALL, ALLOW_NONE, ScopeAccessControl
from servey.security.authorization import Authorization

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
