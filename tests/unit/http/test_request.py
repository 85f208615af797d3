from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from servey import WEB_DELETE, WEB_GET, WEB_PATCH, WEB_POST, WEB_PUT, Authorization, CallContext, UnauthorizedError
from servey.action.action import action
from servey.http.bearer import AUTHORIZATION_KEY
from servey.plugin import Plugin
from servey.security.access_control import ScopeAccessControl
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client
from servey.service import Service
from servey.settings import Settings


@dataclass
class Point:
    x: int
    y: int = 0


def client(*actions: Any, plugins: Iterable[Plugin] = (), **settings: Any) -> Client:
    return Client(create_app(Service(actions, plugins=plugins, settings=Settings(**settings))))


@action(triggers=(WEB_GET, WEB_DELETE))
async def search(
    q: str = "", tag: list[str] | None = None, limit: int = 10, deep: bool = False, near: Point | None = None
) -> list[Any]:
    return [q, tag, limit, deep, near and [near.x, near.y]]


@action(triggers=(WEB_POST, WEB_PUT, WEB_PATCH))
async def add(left: int = 1, right: int = 1) -> int:
    return left + right


@action(triggers=(WEB_POST,))
async def ping() -> str:
    return "pong"


# --- query strings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["", None, 10, False, None]),
        ("q=", ["", None, 10, False, None]),
        ("q", ["", None, 10, False, None]),
        ("q=a+b", ["a b", None, 10, False, None]),
        ("q=a%20b", ["a b", None, 10, False, None]),
        ("q=a%2Bb", ["a+b", None, 10, False, None]),
        ("q=a%26b%3Dc", ["a&b=c", None, 10, False, None]),
        ("q=a=b=c", ["a=b=c", None, 10, False, None]),
        ("q=a;limit=2", ["a;limit=2", None, 10, False, None]),
        ("q=%C3%A4", ["ä", None, 10, False, None]),
        ("q=ä", ["ä", None, 10, False, None]),
        ("%71=x", ["x", None, 10, False, None]),
        ("&&q=x&", ["x", None, 10, False, None]),
        ("tag=a&limit=2&tag=b", ["", ["a", "b"], 2, False, None]),
        ("tag=", ["", [""], 10, False, None]),
        ("tag=a,b", ["", ["a,b"], 10, False, None]),
        ("deep=true", ["", None, 10, True, None]),
        ('near={"x":1}', ["", None, 10, False, [1, 0]]),
        ("near=%7B%22x%22%3A1%2C%22y%22%3A%202%7D", ["", None, 10, False, [1, 2]]),
        ("near=null", ["", None, 10, False, None]),
    ],
)
async def test_a_query_string_is_read(method: str, query: str, expected: Any) -> None:
    response = await client(search).request(method, "/actions/search", query=query)
    assert (response.status, response.json()) == (200, expected)


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("q=a&q=b", ["/q"]),
        ("limit=1&limit=1", ["/limit"]),
        ("limit=", ["/limit"]),
        ("limit", ["/limit"]),
        ("limit=x&deep=y&nope=1", ["/deep", "/limit", "/nope"]),
        ("limit=+5", ["/limit"]),
        ("near=1", ["/near"]),
        ('near={"x":"1"}', ["/near/x"]),
        ('near={"x":1,"z":1}', ["/near/z"]),
        ("near={", ["/near"]),
        ("near=", ["/near"]),
        ("=x", ["/"]),
        ("Q=x", ["/Q"]),
        ("q[]=x", ["/q[]"]),
        ("a~b/c=x", ["/a~0b~1c"]),
        ("tag%5B0%5D=x", ["/tag[0]"]),
    ],
)
async def test_a_query_string_that_does_not_fit_is_invalid(query: str, paths: list[str]) -> None:
    response = await client(search).request("GET", "/actions/search", query=query)
    assert (response.status, response.json()["code"]) == (422, "invalid")
    assert sorted({item["path"] for item in response.json()["errors"]}) == paths


@pytest.mark.parametrize(
    "query", ["q=%", "q=%f", "q=%zz", "q=%FF", "q=%C3%28", "%ZZ", "q=\udcff", "\udcfe=x", "q=%ED%A0%80"]
)
async def test_a_query_string_with_bad_escapes_or_no_utf_8_is_malformed(query: str) -> None:
    response = await client(search).request("GET", "/actions/search", query=query)
    assert (response.status, response.json()["code"]) == (400, "malformed")


async def test_a_query_string_over_the_limit_is_414() -> None:
    http = client(search)
    for length in (64 * 1024 + 1, 10 * 1024 * 1024):
        response = await http.request("GET", "/actions/search", query="q=" + "a" * (length - 2))
        assert (response.status, response.json()["code"]) == (414, "uri_too_long")
    assert (await http.request("GET", "/actions/search", query="q=" + "a" * (64 * 1024 - 2))).status == 200


async def test_the_limit_of_a_query_string_is_a_setting() -> None:
    http = client(search, max_query_size=10)
    assert (await http.request("GET", "/actions/search", query="q=12345678")).status == 200
    assert (await http.request("GET", "/actions/search", query="q=123456789")).status == 414


@pytest.mark.parametrize("part", ["tag=a", "tag=%61"])
async def test_over_a_thousand_fields_are_refused(part: str) -> None:
    http = client(search)
    response = await http.request("GET", "/actions/search", query="&".join([part] * 1000))
    assert response.json()[1] == ["a"] * 1000
    response = await http.request("GET", "/actions/search", query="&".join([part] * 1001))
    assert (response.status, response.json()["code"]) == (400, "malformed")


async def test_a_get_reads_no_body() -> None:
    response = await client(search).request("GET", "/actions/search", json={"q": "body"})
    assert response.json()[0] == ""


# --- bodies ---------------------------------------------------------------------------------------------------------

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_body_is_a_json_object_keyed_by_parameter(method: str) -> None:
    http = client(add)
    assert (await http.request(method, "/actions/add", json={"left": 2, "right": 3})).json() == 5
    assert (await http.request(method, "/actions/add", json={})).json() == 2


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json ; profile=x",
        "application/merge-patch+json",
        "application/vnd.api+json; charset=utf8",
    ],
)
async def test_json_is_read_under_every_name_of_it(content_type: str) -> None:
    response = await client(add).request(
        "POST", "/actions/add", content=b'{"left": 2}', headers={"content-type": content_type}
    )
    assert (response.status, response.json()) == (200, 3)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/jsonx",
        "application/xml",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "image/svg+json",
        "\xff",
    ],
)
async def test_a_body_of_another_type_is_415(content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await client(add).request("POST", "/actions/add", content=b'{"left": 2}', headers=headers)
    assert (response.status, response.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity"])
async def test_an_encoded_body_is_415(coding: str) -> None:
    for content_type in ("application/json", "application/json; charset=utf-8"):
        headers = {"content-type": content_type, "content-encoding": coding}
        response = await client(add).request("POST", "/actions/add", content=b'{"left": 2}', headers=headers)
        assert (response.status, response.json()["code"]) == (415, "unsupported_media_type")


async def test_without_parameters_no_body_is_needed() -> None:
    http = client(ping, add)
    assert (await http.request("POST", "/actions/ping")).json() == "pong"
    assert (await http.request("POST", "/actions/ping", headers=JSON)).json() == "pong"
    assert (await http.request("POST", "/actions/ping", json={})).json() == "pong"
    assert (await http.request("POST", "/actions/add")).json() == 2
    assert (await http.request("POST", "/actions/ping", json={"x": 1})).status == 422


async def test_a_query_string_is_no_place_for_what_belongs_in_the_body() -> None:
    http = client(add)
    response = await http.request("POST", "/actions/add", query="left=5&a/b", json={"right": 1})
    assert response.status == 422
    assert [item["path"] for item in response.json()["errors"]] == ["/left", "/a~1b"]
    assert (await http.request("POST", "/actions/add", query="left=%zz", json={})).status == 400
    lenient = client(add, unknown_query="ignore")
    assert (await lenient.request("POST", "/actions/add", query="left=5", json={"right": 1})).json() == 2


@pytest.mark.parametrize("pieces", [[b'{"le', b'ft": ', b"", b"2}"], [b"", b'{"left": 2}'], [b'{"left": 2}', b""]])
async def test_a_body_may_come_in_pieces(pieces: list[bytes]) -> None:
    assert (await client(add).request("POST", "/actions/add", content=pieces, headers=JSON)).json() == 3


class Wire:
    """The ASGI callables of one request whose body comes message by message."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.received = 0
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        if self.received == len(self.messages):
            await asyncio.Event().wait()  # a client that sends no more, and stays
        self.received += 1
        return self.messages[self.received - 1]

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def post(self, http: Client, **headers: str) -> int | None:
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": "POST", "path": "/actions/add", "raw_path": b"/actions/add", "root_path": "",
            "query_string": b"", "headers": [(b"content-type", b"application/json"), *pairs], "http_version": "1.1",
            "scheme": "http", "asgi": {"version": "3.0"}, "client": None, "server": None,
        }  # fmt: skip
        await http._app(scope, self.receive, self.send)
        return self.sent[0]["status"] if self.sent else None


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_declared_over_the_limit_is_refused_unread() -> None:
    http = client(add, max_body_size=100)
    for length in ("101", "9" * 5000):
        wire = Wire(piece(b"x" * 10))
        assert await wire.post(http, content_length=length) == 413
        assert wire.received == 0


async def test_a_body_over_the_limit_is_refused_in_the_middle() -> None:
    http = client(add, max_body_size=100)
    wire = Wire(*[piece(b" " * 40)] * 10)
    assert await wire.post(http) == 413
    assert wire.received == 3
    for content_length in ("5", "abc", "-1"):  # it may lie
        assert await Wire(*[piece(b" " * 40)] * 10).post(http, content_length=content_length) == 413
    assert await Wire(piece(b" " * 101, more=False)).post(http) == 413
    assert await Wire(piece(b" " * 50), piece(b" " * 51, more=False)).post(http) == 413


async def test_a_body_at_the_limit_is_read() -> None:
    http = client(add, max_body_size=100)
    assert await Wire(piece(b"{}".ljust(100), more=False)).post(http, content_length="100") == 200
    assert await Wire(piece(b"{}".ljust(50)), piece(b" " * 50), piece(b"", more=False)).post(http) == 200


async def test_a_client_that_leaves_while_it_sends_gets_no_answer_and_no_call() -> None:
    called: list[int] = []

    @action(name="add", triggers=(WEB_POST,))
    async def never(left: int = 1) -> None:
        called.append(left)

    http = client(never)
    for messages in ([{"type": "http.disconnect"}], [piece(b'{"left": 1'), {"type": "http.disconnect"}]):
        assert await Wire(*messages).post(http) is None
    assert called == []


async def test_a_missing_type_on_a_large_body_is_found_before_it_is_kept() -> None:
    http = client(add, max_body_size=100)
    response = await http.request("POST", "/actions/add", content=b"x" * 101)
    assert response.status in (413, 415)


# --- request ids ----------------------------------------------------------------------------------------------------


@action(triggers=(WEB_GET,))
async def who(context: CallContext) -> str:
    return context.request_id


@pytest.mark.parametrize("given", ["a", "A-1.b_c:d/e+f=@", "0" * 128, "550e8400-e29b-41d4-a716-446655440000"])
async def test_a_good_request_id_is_kept(given: str) -> None:
    response = await client(who).request("GET", "/actions/who", headers={"x-request-id": given})
    assert (response.json(), response.headers["x-request-id"]) == (given, given)


@pytest.mark.parametrize("given", ["", " ", "0" * 129, "a b", "a\nb", "ä", 'a"b', "a\x00", "<script>", "a;b", "a\n"])
async def test_a_request_id_unfit_for_logs_is_replaced(given: str) -> None:
    http = client(who)
    response = await http.request("GET", "/actions/who", headers={"x-request-id": given})
    assert response.json() == response.headers["x-request-id"] != given
    assert response.headers["x-request-id"].isascii()
    missing = await http.request("GET", "/nope", headers={"x-request-id": given})
    assert missing.json()["request_id"] == missing.headers["x-request-id"] != given


async def test_every_request_has_another_id() -> None:
    http = client(who)
    ids = [(await http.request("GET", "/actions/who")).json() for _ in range(50)]
    assert len(set(ids)) == 50


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/actions/search?limit=x", 422),
        ("GET", "/nope", 404),
        ("POST", "/actions/search", 405),
        ("OPTIONS", "/actions/search", 204),
        ("POST", "/livez", 405),
    ],
)
async def test_an_error_has_the_request_id_too(method: str, path: str, status: int) -> None:
    path, _, query = path.partition("?")
    response = await client(search).request(method, path, query=query, headers={"x-request-id": "mine"})
    assert (response.status, response.headers["x-request-id"]) == (status, "mine")
    if status >= 400:
        assert response.json()["request_id"] == "mine"


# --- authorization --------------------------------------------------------------------------------------------------


class Tokens(Plugin):
    """Tokens that are the scopes themselves, after ``ok:``."""

    def authorizers(self) -> Any:
        return (self,)

    async def authorize(self, token: str) -> Authorization:
        await asyncio.sleep(0)
        if token == "crash":
            raise RuntimeError("swordfish")
        kind, _, scopes = token.partition(":")
        if kind != "ok":
            raise UnauthorizedError('the token "has" expired', error="invalid_token")
        return Authorization("me", frozenset(scopes.split("+")))


@action(triggers=(WEB_GET,))
async def open_to_all(authorization: Authorization | None) -> str:
    return "nobody" if authorization is None else str(authorization.subject)


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
async def guarded(authorization: Authorization) -> str:
    return str(authorization.subject)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_plugins_authorizer_verifies_the_token() -> None:
    http = client(open_to_all, guarded, plugins=[Tokens()])
    assert (await http.request("GET", "/actions/open-to-all")).json() == "nobody"
    assert (await http.request("GET", "/actions/open-to-all", headers=bearer("ok:x"))).json() == "me"
    assert (await http.request("GET", "/actions/guarded", headers=bearer("ok:x+root"))).json() == "me"
    response = await http.request("GET", "/actions/guarded", headers=bearer("ok:x"))
    assert (response.status, response.headers["www-authenticate"]) == (
        403,
        'Bearer error="insufficient_scope", scope="root"',
    )
    response = await http.request("GET", "/actions/guarded")
    assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    http = client(guarded, plugins=[Tokens()])
    response = await http.request("GET", "/actions/guarded", headers={"authorization": f"{scheme} ok:root"})
    assert response.json() == "me"


@pytest.mark.parametrize("path", ["/actions/open-to-all", "/actions/guarded"])
async def test_a_bad_token_is_401_even_on_an_open_action(path: str) -> None:
    response = await client(open_to_all, guarded, plugins=[Tokens()]).request("GET", path, headers=bearer("old"))
    assert (response.status, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == (
        'Bearer error="invalid_token", error_description="the token \'has\' expired"'
    )


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "bearer"])
async def test_a_bearer_without_a_token_is_401(value: str) -> None:
    http = client(open_to_all, plugins=[Tokens()])
    response = await http.request("GET", "/actions/open-to-all", headers={"authorization": value})
    assert response.status == 401
    assert 'error="invalid_request"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("value", ["Basic bWU6cHc=", "", "ok:root", "Bearer\tok:root", "Negotiate"])
async def test_another_scheme_is_told_the_right_one_and_no_error_code(value: str) -> None:
    """RFC 6750 §3: no error code for who did not know."""
    http = client(open_to_all, plugins=[Tokens()])
    response = await http.request("GET", "/actions/open-to-all", headers={"authorization": value})
    assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")


async def test_two_authorization_headers_are_401() -> None:
    headers = [("authorization", "Bearer ok:root"), ("authorization", "Bearer ok:root")]
    response = await client(open_to_all, plugins=[Tokens()]).request("GET", "/actions/open-to-all", headers=headers)
    assert (response.status, response.json()["code"]) == (401, "unauthorized")


async def test_a_token_that_nothing_can_verify_is_401() -> None:
    response = await client(open_to_all).request("GET", "/actions/open-to-all", headers=bearer("ok:root"))
    assert response.status == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_a_token_is_judged_before_the_input() -> None:
    http = client(search, add, plugins=[Tokens()])
    assert (await http.request("GET", "/actions/search", query="%zz", headers=bearer("old"))).status == 401
    wire = Wire(piece(b"{"))
    assert await wire.post(http, authorization="Bearer old") == 401
    assert wire.received == 0


async def test_an_authorizer_with_a_defect_is_a_masked_500(caplog: pytest.LogCaptureFixture) -> None:
    response = await client(open_to_all, plugins=[Tokens()]).request(
        "GET", "/actions/open-to-all", headers=bearer("crash")
    )
    assert (response.status, response.json()["code"]) == (500, "internal_error")
    assert b"swordfish" not in response.content
    assert "swordfish" in caplog.text
    assert response.headers["x-request-id"] in caplog.text


async def test_a_middleware_in_front_may_have_verified_the_caller() -> None:
    http = client(guarded, open_to_all, plugins=[Tokens()])
    caller = Authorization("verified", frozenset({"root"}))
    assert (await http.request("GET", "/actions/guarded", authorization=caller)).json() == "verified"
    # what is verified goes before a header
    response = await http.request("GET", "/actions/guarded", authorization=caller, headers=bearer("old"))
    assert response.json() == "verified"
    assert AUTHORIZATION_KEY == "servey.authorization"


async def test_a_token_never_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    http = client(open_to_all, plugins=[Tokens()])
    for token in ("ok:s3cret", "s3cret", "crash"):
        await http.request("GET", "/actions/open-to-all", headers=bearer(token))
    assert "s3cret" not in caplog.text
