"""What somebody else's code says of a caller: a plugin's authorizer, and a middleware in front."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from types import MappingProxyType

import jwt
import pytest

from servey import WEB_GET, Authorization, ScopeAccessControl, UnauthorizedError
from servey.action.action import action
from servey.action.context import CallContext, Origin
from servey.errors import ConflictError, ForbiddenError, InternalError
from servey.http.bearer import AUTHORIZATION_KEY
from servey.plugin import Plugin
from servey.security.authorizer.fixed_keys import FixedKeys, secret_verification_key
from servey.security.authorizer.jwt_authorizer import JwtAuthorizer
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client
from servey.service import Service
from servey.settings import Settings

SECRET = "a secret for tests of 32 bytes or more"


@action(triggers=(WEB_GET,))
async def who(authorization: Authorization | None) -> str:
    return "nobody" if authorization is None else f"{authorization.subject} {authorization.identity.hex()}"


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
async def guarded() -> str:
    return "in"


class Answering(Plugin):
    """An authorizer that answers what it is told, or raises it."""

    def __init__(self, answer):
        self.answer = answer

    def authorizers(self):
        return (self,)

    async def authorize(self, token):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def token(**claims):
    return jwt.encode({"sub": "me", "exp": int(time.time()) + 600, **claims}, SECRET, "HS256")


def ask(*plugins, given="a token", path="/actions/who", **settings):
    service = Service([who, guarded], plugins=plugins, settings=Settings(**settings))
    headers = {"authorization": f"Bearer {given}"}
    return asyncio.run(Client(create_app(service)).request("GET", path, headers=headers))


def ask_with_scope_key(value, path="/actions/who"):
    app = create_app(Service([who, guarded]))

    async def in_front(scope, receive, send):
        scope[AUTHORIZATION_KEY] = value
        await app(scope, receive, send)

    return asyncio.run(Client(in_front).request("GET", path))


ENDLESS = []
ENDLESS.append(ENDLESS)
NO_AUTHORIZATION = {
    "True": True,
    "False": False,
    "a text": "me",
    "claims": {"sub": "me", "scope": "root"},
    "a subject that is no text": Authorization(subject=5),
    "an issuer that is no text": Authorization("me", issuer=b"me"),
    "scopes in one text": Authorization("me", scopes="root"),
    "scopes in a list": Authorization("me", scopes=["root"]),
    "scopes that are no texts": Authorization("me", scopes=frozenset({1})),
    "claims in a list": Authorization("me", claims=[("a", 1)]),
    "a claim that is a moment": Authorization("me", claims={"at": datetime(2026, 1, 1, tzinfo=UTC)}),
    "a claim that is bytes": Authorization("me", claims={"key": b"bytes"}),
    "an object deep in a claim": Authorization("me", claims={"a": [{"b": object()}]}),
    "a claim with a name that is no text": Authorization("me", claims={"a": {1: 2}}),
    "a claim that has itself": Authorization("me", claims={"a": ENDLESS}),
}


@pytest.mark.parametrize("what", NO_AUTHORIZATION)
def test_what_is_no_authorization_is_a_defect_and_nobody_is_let_in(what, caplog):
    for response in (
        ask(Answering(NO_AUTHORIZATION[what])),
        ask(Answering(NO_AUTHORIZATION[what]), path="/actions/guarded"),
        ask_with_scope_key(NO_AUTHORIZATION[what]),
    ):
        assert (response.status, response.json()["code"]) == (500, "internal_error")
        assert response.headers["x-request-id"] in caplog.text
    assert "Answering gave a" in caplog.text
    assert f"the scope key {AUTHORIZATION_KEY} gave a" in caplog.text


def test_an_authorizer_that_says_nothing_leaves_the_token_to_the_next():
    assert ask(Answering(None), Answering(Authorization("second"))).json().startswith("second ")
    assert ask(Answering(None), given=token(), jwt_secret_key=SECRET).json().startswith("me ")


def test_a_token_that_nobody_says_anything_of_is_refused_and_not_taken_for_none():
    response = ask(Answering(None))
    assert (response.status, response.json()["code"]) == (401, "unauthorized")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("error", [ForbiddenError("shut out"), ConflictError("two of them"), InternalError()])
def test_another_error_does_not_keep_the_next_from_being_asked(error):
    assert ask(Answering(error), Answering(Authorization("second"))).json().startswith("second ")
    refusing = Answering(UnauthorizedError("not mine"))
    for plugins in ([Answering(error), refusing], [refusing, Answering(error)]):
        assert ask(*plugins).status == error.status


def test_the_document_is_shown_to_no_caller_that_is_none():
    with pytest.raises(TypeError, match="the scope key"):  # answered with 500; raised again for the server's log
        ask_with_scope_key(True, "/openapi.json")


def test_a_middleware_may_say_that_there_is_nobody():
    assert ask_with_scope_key(None).json() == "nobody"
    claims = MappingProxyType({"roles": ["a", {"b": None}], "n": 2**70, "x": 1.5})
    assert ask_with_scope_key(Authorization("ada", {"root"}, claims=claims)).json().startswith("ada ")


def test_an_authorizer_has_the_time_of_the_call():
    class Hanging(Answering):
        async def authorize(self, token):
            with contextlib.suppress(ZeroDivisionError):
                await asyncio.Event().wait()

    for path in ("/actions/who", "/openapi.json"):
        response = ask(Hanging(None), path=path, timeout=0.05)
        assert (response.status, response.json()["code"]) == (504, "timeout")


def test_what_an_authorizer_adds_to_the_usual_one_is_asked_for_every_request():
    revoked = set()

    class Revoking(JwtAuthorizer):
        async def authorize(self, token):
            if token in revoked:
                raise UnauthorizedError("it is revoked", error="invalid_token")
            return await super().authorize(token)

    class Keys(Plugin):
        def authorizers(self):
            return (Revoking(FixedKeys(lambda: (secret_verification_key(SECRET),))),)

    service, given = Service(plugins=[Keys()]), token()

    async def caller():
        return await service.authenticate(given, CallContext(Origin.NETWORK, "rest", "r1"), None)

    assert asyncio.run(caller()).subject == "me"
    revoked.add(given)
    with pytest.raises(UnauthorizedError, match="revoked"):
        asyncio.run(caller())
