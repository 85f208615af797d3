"""Who may call what, in the document."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from servey import WEB_GET, WEB_POST, Authorization, CallContext, resource
from servey.action.action import action
from servey.errors import ErrorMapping
from servey.plugin import Plugin
from servey.schema.openapi import openapi_document
from servey.security.access_control import ALLOW_NONE, AnyOf, ScopeAccessControl
from servey.service import Service
from servey.settings import Settings


class Signs(Plugin):
    """Has what tokens are signed with; nobody asks it here."""

    def authorizers(self):
        return (self,)

    async def authorize(self, token):
        raise NotImplementedError

    def issue(self, authorization):
        raise NotImplementedError


SIGNS = Signs()


class OneOf:
    """Lets those in who have one of several sets of scopes."""

    def __init__(self, *alternatives):
        self.alternatives = tuple(map(frozenset, alternatives))

    def check(self, authorization):
        raise NotImplementedError

    def required_scopes(self):
        return self.alternatives


class Own:
    """Says nothing of scopes."""

    def check(self, authorization):
        raise NotImplementedError


@action(triggers=(WEB_GET,))
def open_to_all() -> str:
    return ""


@action(triggers=(WEB_GET,))
def sees_context(context: CallContext) -> str:
    return ""


@action(triggers=(WEB_GET,))
def optional(authorization: Authorization | None) -> str:
    return ""


@action(triggers=(WEB_GET,))
def required(authorization: Authorization) -> str:
    return ""


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("read"))
def scoped() -> str:
    return ""


@action(triggers=(WEB_GET,), access_control=OneOf({"write", "read"}, {"root"}))
def combined() -> str:
    return ""


@action(triggers=(WEB_GET,), access_control=Own())
def own() -> str:
    return ""


@action(triggers=(WEB_GET,), access_control=ALLOW_NONE)
def nobody() -> str:
    return ""


ALL = (open_to_all, sees_context, optional, required, scoped, combined, own, nobody)


def document(*actions: Any, version: Any = "3.1", plugins: Any = (SIGNS,), **settings: Any) -> dict[str, Any]:
    settings = {"debug_authenticator_password": "secret", **settings}
    service = Service(actions, plugins=plugins, settings=Settings(**settings))
    found = openapi_document(service, version=version)
    validate(json.loads(json.dumps(found)))
    return found


def operation(found: dict[str, Any], name: str) -> dict[str, Any]:
    return found["paths"][f"/actions/{name.replace('_', '-')}"]["get"]


SECURITY = {
    "open_to_all": None,
    "sees_context": None,
    "optional": [{}, {"login": []}],
    "required": [{"login": []}],
    "scoped": [{"login": ["read"]}],
    "combined": [{"login": ["read", "write"]}, {"login": ["root"]}],
    "own": [{"login": []}],
    "nobody": [{"login": []}],
}


@pytest.mark.parametrize("version", ["3.1", "3.0"])
def test_an_operation_requires_what_its_action_needs(version):
    found = document(*ALL, version=version)
    assert {name: operation(found, name).get("security") for name in SECURITY} == SECURITY
    assert found["components"]["securitySchemes"] == {
        "login": {
            "type": "oauth2",
            "description": "Log in with a name and a password.",
            "flows": {
                "password": {
                    "tokenUrl": "login",
                    "scopes": {
                        "read": "Needed by scoped, combined.",
                        "root": "Needed by combined.",
                        "write": "Needed by combined.",
                    },
                }
            },
        }
    }


class Person:
    """What a resource makes of the caller."""


@pytest.mark.parametrize(
    ("caller", "expected"),
    [(Authorization, [{"login": []}]), (Authorization | None, [{}, {"login": []}]), (CallContext, None)],
    ids=["needed", "optional", "context"],
)
def test_an_operation_requires_what_the_resources_of_its_action_need(caller: Any, expected: Any) -> None:
    @resource
    def person(caller: caller) -> Iterator[Person]:
        yield Person()

    @resource
    def people(person: Person) -> Iterator[list]:
        yield [person]

    @action(triggers=(WEB_GET,))
    def through(people: list) -> str:
        return ""

    service = Service([through], resources=[person, people], plugins=[SIGNS])
    assert operation(openapi_document(service), "through").get("security") == expected


def test_without_a_login_a_token_comes_from_elsewhere():
    found = document(*ALL, environment="production", plugins=())
    (scheme,) = found["components"]["securitySchemes"].items()
    name, members = scheme
    assert (name, members["type"], members["scheme"], members["bearerFormat"]) == ("bearer", "http", "bearer", "JWT")
    assert operation(found, "combined")["security"] == [{"bearer": ["read", "write"]}, {"bearer": ["root"]}]
    assert operation(found, "optional")["security"] == [{}, {"bearer": []}]


def test_3_0_names_scopes_for_oauth_and_openid_alone():
    found = document(*ALL, version="3.0", debug_authenticator=False, oidc_issuers=("https://id.example/",))
    assert operation(found, "combined")["security"] == [
        {"bearer": []},
        {"openid": ["read", "write"]},
        {"openid": ["root"]},
    ]


def test_issuers_of_openid_connect_are_schemes_of_their_own():
    found = document(*ALL, oidc_issuers=("https://id.example", "https://other.example/tenant/"))
    schemes = found["components"]["securitySchemes"]
    assert [(name, scheme["type"]) for name, scheme in schemes.items()] == [
        ("login", "oauth2"),
        ("openid", "openIdConnect"),
        ("openid_2", "openIdConnect"),
    ]
    assert schemes["openid"]["openIdConnectUrl"] == "https://id.example/.well-known/openid-configuration"
    assert schemes["openid_2"]["openIdConnectUrl"] == "https://other.example/tenant/.well-known/openid-configuration"
    assert operation(found, "scoped")["security"] == [{"login": ["read"]}, {"openid": ["read"]}, {"openid_2": ["read"]}]


@pytest.mark.parametrize("version", ["3.1", "3.0"])
def test_where_nobody_needs_a_token_there_is_nothing_of_tokens(version):
    found = document(open_to_all, sees_context, version=version, oidc_issuers=("https://id.example",))
    assert "securitySchemes" not in found["components"]
    for name in ("open_to_all", "sees_context"):
        assert "security" not in operation(found, name)
        assert "401" not in operation(found, name)["responses"]


def test_a_bad_token_is_refused_by_open_actions_too_where_there_are_tokens():
    found = document(*ALL)
    assert all("401" in operation(found, name)["responses"] for name in SECURITY)


def test_what_is_refused_is_documented_as_it_is_sent():
    found = document(*ALL)
    with_403 = {name for name in SECURITY if "403" in operation(found, name)["responses"]}
    assert with_403 == {"scoped", "combined", "own", "nobody"}
    header = operation(found, "required")["responses"]["401"]["headers"]["WWW-Authenticate"]
    assert header["required"] is True
    assert header["schema"]["examples"][0] == "Bearer"
    lacking = operation(found, "scoped")["responses"]["403"]["headers"]["WWW-Authenticate"]
    assert lacking["schema"]["examples"] == ['Bearer error="insufficient_scope", scope="read"']
    assert "headers" not in operation(found, "own")["responses"]["403"]


def test_an_error_of_the_users_own_promises_no_challenge():
    class LockedError(Exception):
        pass

    @action(
        triggers=(WEB_GET,), access_control=ScopeAccessControl("a"), errors=(ErrorMapping(LockedError, 401, "locked"),)
    )
    def locked() -> str:
        return ""

    header = operation(document(locked), "locked")["responses"]["401"]["headers"]["WWW-Authenticate"]
    assert "required" not in header


def test_a_rate_limit_is_documented_with_its_headers():
    @action(triggers=(WEB_GET, WEB_POST), rate_limit="10/minute")
    def limited() -> str:
        return ""

    responses = operation(document(limited), "limited")["responses"]
    assert set(responses["429"]["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}
    assert responses["429"]["headers"]["Retry-After"]["required"] is True
    assert set(responses["200"]["headers"]) == {"RateLimit", "RateLimit-Policy"}
    assert "429" not in operation(document(open_to_all), "open_to_all")["responses"]


def test_a_scope_may_be_called_like_anything():
    @action(triggers=(WEB_GET,), access_control=OneOf({"schemas"}, {"$ref"}, {"pattern"}, {"examples"}, {"properties"}))
    def strange() -> str:
        return ""

    for version in ("3.1", "3.0"):
        scopes = document(strange, version=version)["components"]["securitySchemes"]["login"]["flows"]["password"]
        assert set(scopes["scopes"]) == {"schemas", "$ref", "pattern", "examples", "properties"}


def test_a_part_of_the_document_has_the_names_and_schemes_of_the_whole():
    @action(triggers=(WEB_GET, WEB_POST))
    def twice() -> str:
        return ""

    service = Service([*ALL, twice], plugins=[Signs()], settings=Settings(debug_authenticator_password="secret"))
    whole, part = openapi_document(service), openapi_document(service, visible=frozenset({"twice"}))
    assert part["paths"] == {"/actions/twice": whole["paths"]["/actions/twice"]}
    assert part["components"]["securitySchemes"].keys() == whole["components"]["securitySchemes"].keys()
    nothing = openapi_document(service, visible=frozenset())
    validate(json.loads(json.dumps(nothing)))
    assert nothing["paths"] == {}


def test_a_part_of_the_document_tells_nothing_of_the_rest():
    @action(triggers=(WEB_GET,), access_control=AnyOf(ScopeAccessControl("wipe"), ScopeAccessControl("clerk")))
    def wipe_all_customers() -> None: ...

    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("clerk"))
    def find_customer() -> None: ...

    settings = Settings(debug_authenticator_password="secret")
    service = Service([wipe_all_customers, find_customer], plugins=[Signs()], settings=settings)
    part = openapi_document(service, visible=frozenset({"find_customer"}))
    assert part["components"]["securitySchemes"]["login"]["flows"]["password"]["scopes"] == {
        "clerk": "Needed by find_customer."
    }
    assert "wipe" not in json.dumps(part).replace("-", "_")
