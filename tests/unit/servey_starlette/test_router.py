from __future__ import annotations

from typing import Any

import pytest

from servey import WEB_DELETE, WEB_GET, WEB_POST, WEB_PUT, DefinitionError, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, client_of
from servey.service import Service

GET, POST, PUT = WebTriggerMethod.GET, WebTriggerMethod.POST, WebTriggerMethod.PUT


def at(path: str, method: WebTriggerMethod = GET, *, name: str, parameters: tuple[str, ...] = ()) -> Any:
    """Return an action at `path` that answers its name and its arguments."""
    namespace: dict[str, Any] = {}
    signature = ", ".join(f"{parameter}: str" for parameter in parameters)
    values = ", ".join(parameters)
    exec(
        f"async def {name}({signature}) -> list[str]: return [{', '.join(filter(None, [repr(name), values]))}]",
        namespace,
    )
    return action(triggers=(WebTrigger(method, path),))(namespace[name])


def client(*actions: Any, root_path: str = "") -> Client:
    return Client(create_app(Service(actions)), root_path)


async def test_a_path_defaults_to_the_name_with_dashes() -> None:
    @action(triggers=(WEB_GET,))
    def say_hello() -> str:
        return "hello"

    assert (await client(say_hello).request("GET", "/actions/say-hello")).json() == "hello"
    assert (await client(say_hello).request("GET", "/actions/say_hello")).status == 404


async def test_a_fixed_segment_goes_before_a_parameter() -> None:
    http = client(
        at("/users/{id}", name="one", parameters=("id",)),
        at("/users/me", name="me"),
        at("/users/{id}/posts/{post}", name="post", parameters=("id", "post")),
        at("/users/me/posts/latest", name="latest"),
    )
    answers = {path: (await http.request("GET", path)).json() for path in (
        "/users/7", "/users/me", "/users/7/posts/8", "/users/me/posts/8", "/users/me/posts/latest",
        "/users/7/posts/latest",
    )}  # fmt: skip
    assert answers == {
        "/users/7": ["one", "7"],
        "/users/me": ["me"],
        "/users/7/posts/8": ["post", "7", "8"],
        "/users/me/posts/8": ["post", "me", "8"],
        "/users/me/posts/latest": ["latest"],
        "/users/7/posts/latest": ["post", "7", "latest"],
    }


async def test_a_fixed_segment_that_leads_nowhere_is_gone_back_on() -> None:
    http = client(
        at("/a/{x}/{y}/d", name="deep", parameters=("x", "y")),
        at("/a/b/{y}/c", name="near", parameters=("y",)),
        at("/{x}/b/c/{z}", name="wide", parameters=("x", "z")),
    )
    assert (await http.request("GET", "/a/b/c/d")).json() == ["deep", "b", "c"]
    assert (await http.request("GET", "/a/b/c/c")).json() == ["near", "c"]
    assert (await http.request("GET", "/a/b/c/e")).json() == ["wide", "a", "e"]
    assert (await http.request("GET", "/b/b/x/e")).status == 404


@pytest.mark.parametrize(
    ("segment", "value"),
    [("a%2Fb", "a/b"), ("a%2fb%2F", "a/b/"), ("%C3%A4", "ä"), ("a%20b+c", "a b+c"), ("%25", "%"), ("%3F%23", "?#"),
     ("a;b=c", "a;b=c"), ("%00", "\0"), ("..", ".."), ("%2E%2E", "..")],
)  # fmt: skip
async def test_a_parameter_is_one_segment_with_its_escapes_undone(segment: str, value: str) -> None:
    http = client(at("/files/{name}", name="file", parameters=("name",)))
    response = await http.request("GET", f"/files/{segment}")
    assert (response.status, response.json()) == (200, ["file", value])


@pytest.mark.parametrize("segment", ["%", "%2", "%zz", "a%", "%FF", "%C3", "%ED%A0%80", "%2%46"])
async def test_a_path_with_bad_escapes_is_malformed(segment: str) -> None:
    http = client(at("/files/{name}", name="file", parameters=("name",)))
    response = await http.request("GET", f"/files/{segment}")
    assert (response.status, response.json()["code"]) == (400, "malformed")


async def test_an_escaped_fixed_segment_is_the_segment() -> None:
    http = client(at("/users/me", name="me"), at("/users/me/{x}", name="mine", parameters=("x",)))
    assert (await http.request("GET", "/users/%6De")).json() == ["me"]
    assert (await http.request("GET", "/users/%6De/%31")).json() == ["mine", "1"]


@pytest.mark.parametrize(
    "path", ["/", "/users", "/users/", "/users/7/", "//users/7", "/users//7", "/Users/7", "/nope", "*"]
)
async def test_a_path_that_nobody_serves_is_a_404_problem(path: str) -> None:
    response = await client(at("/users/{id}", name="one", parameters=("id",))).request("GET", path)
    assert response.status == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "/docs/errors#not_found",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "nothing is served at this path",
        "request_id": response.headers["x-request-id"],
    }


@pytest.mark.parametrize("template", ["/things", "/things/{x}"])
async def test_another_method_is_a_405_problem_with_allow(template: str) -> None:
    parameters = ("x",) if "{" in template else ()
    http = client(
        at(template, GET, name="get", parameters=parameters), at(template, PUT, name="put", parameters=parameters)
    )
    path = template.replace("{x}", "1")
    for method in ("POST", "DELETE", "PATCH", "TRACE", "BREW"):
        response = await http.request(method, path)
        assert (response.status, response.json()["code"]) == (405, "method_not_allowed")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["allow"] == "GET, HEAD, OPTIONS, PUT"
    response = await http.request("OPTIONS", path)
    assert (response.status, response.headers["allow"], response.content) == (204, "GET, HEAD, OPTIONS, PUT", b"")
    assert "content-length" not in response.headers


async def test_a_fixed_path_hides_the_template_for_every_method() -> None:
    http = client(at("/users/me", GET, name="me"), at("/users/{id}", PUT, name="one", parameters=("id",)))
    assert (await http.request("PUT", "/users/me", json={})).status == 405
    assert (await http.request("PUT", "/users/you", json={})).json() == ["one", "you"]


async def test_parameters_of_one_template_may_have_other_names_by_method() -> None:
    http = client(
        at("/users/{id}", GET, name="one", parameters=("id",)), at("/users/{key}", PUT, name="two", parameters=("key",))
    )
    assert (await http.request("GET", "/users/7")).json() == ["one", "7"]
    assert (await http.request("HEAD", "/users/7")).status == 200
    assert (await http.request("PUT", "/users/7", json={})).json() == ["two", "7"]


@pytest.mark.parametrize("path", ["/plain", "/users/a%2Fb", "/users/x"])
@pytest.mark.parametrize("root", ["/api", "/api/v1", "/with space", "/api/"])
async def test_a_root_path_is_taken_off(path: str, root: str) -> None:
    actions = at("/plain", name="plain"), at("/users/{id}", name="one", parameters=("id",))
    expected = (await client(*actions).request("GET", path)).json()
    http = client(*actions, root_path=root.replace(" ", "%20"))
    # a server tells the root path unescaped
    app = http._app

    async def unescaped(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": root}, receive, send)

    http._app = unescaped
    assert (await http.request("GET", path)).json() == expected


@pytest.mark.parametrize("path", ["/plain", "/users/a%2Fb", "/users/x", "/apiary/x%20y"])
async def test_a_root_path_that_a_proxy_has_taken_off_already_stays_off(path: str) -> None:
    actions = (
        at("/plain", name="plain"),
        at("/users/{id}", name="one", parameters=("id",)),
        at("/apiary/{bee}", name="bee", parameters=("bee",)),
    )
    expected = await client(*actions).request("GET", path)
    assert expected.status == 200
    http = client(*actions)
    app = http._app

    async def rooted(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/api"}, receive, send)

    http._app = rooted
    assert (await http.request("GET", path)).json() == expected.json()


async def test_a_parameter_of_the_path_may_not_be_given_again() -> None:
    http = client(
        at("/users/{id}", GET, name="one", parameters=("id",)), at("/users/{id}", PUT, name="two", parameters=("id",))
    )
    for response in (
        await http.request("GET", "/users/7", query="id=8"),
        await http.request("PUT", "/users/7", json={"id": "8"}),
        await http.request("PUT", "/users/7", json={"id": "7"}),
    ):
        assert response.status == 422
        assert [item["path"] for item in response.json()["errors"]] == ["/id"]


async def test_a_parameter_of_the_path_is_read_by_its_type() -> None:
    @action(triggers=(WebTrigger(GET, "/items/{number}/{flag}"), WebTrigger(POST, "/items/{number}/{flag}")))
    def item(number: int, flag: bool, note: str = "") -> list[Any]:
        return [number, flag, note]

    http = client(item)
    assert (await http.request("GET", "/items/7/true", query="note=x")).json() == [7, True, "x"]
    assert (await http.request("POST", "/items/7/false", json={"note": "x"})).json() == [7, False, "x"]
    for method, rest in (("GET", {"query": "nota=1"}), ("POST", {"json": {"nota": 1}})):
        response = await http.request(method, "/items/x/maybe", **rest)  # type: ignore[arg-type]
        assert {problem["path"] for problem in response.json()["errors"]} == {"/number", "/flag", "/nota"}


def test_two_actions_on_one_method_and_path_are_refused_with_both_places() -> None:
    @action(triggers=(WebTrigger(GET, "/users/{id}"),))
    def one(id: str) -> str:
        return id

    @action(triggers=(WebTrigger(GET, "/users/{key}"),))
    def two(key: str) -> str:
        return key

    with pytest.raises(DefinitionError) as caught:
        Service([one, two])
    lines = [fn.__code__.co_firstlineno for fn in (one, two)]
    assert [place.rpartition(":")[2] for place in caught.value.where] == [str(line) for line in lines]
    assert all("test_router.py" in place for place in caught.value.where)
    assert caught.value.fix


def test_a_default_path_may_collide_too() -> None:
    @action(triggers=(WEB_GET,))
    def say_hello() -> str:
        return ""

    @action(triggers=(WebTrigger(GET, "/actions/say-hello"),))
    def other() -> str:
        return ""

    with pytest.raises(DefinitionError, match="say_hello"):
        Service([say_hello, other])


async def test_the_same_path_for_other_methods_is_no_conflict() -> None:
    @action(triggers=(WebTrigger(GET, "/users"),))
    def users() -> str:
        return "list"

    @action(triggers=(WebTrigger(POST, "/users"),))
    def add() -> str:
        return "add"

    @action(triggers=(WEB_GET, WEB_POST, WEB_PUT, WEB_DELETE))
    def everything() -> str:
        return "all"

    http = client(users, add, everything)
    assert [(await http.request(method, "/users")).json() for method in ("GET", "POST")] == ["list", "add"]
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert (await http.request(method, "/actions/everything")).json() == "all"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_path_that_the_application_needs_is_refused(path: str) -> None:
    @action(triggers=(WebTrigger(POST, path),))
    def mine() -> str:
        return ""

    with pytest.raises(DefinitionError, match=path) as caught:
        create_app(Service([mine]))
    assert "test_router.py" in caught.value.where[0]


@pytest.mark.parametrize(
    ("path", "parameters"), [("/users/{ident}", "id: str"), ("/users/{id}", "id: list[str]"), ("/users/{id}", "")]
)
def test_a_template_that_does_not_fit_the_parameters_is_refused(path: str, parameters: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def one({parameters}) -> str: return ''", namespace)
    with pytest.raises(DefinitionError, match="/users/"):
        Service([action(triggers=(WebTrigger(GET, path),))(namespace["one"])])


async def test_a_thousand_actions_are_all_found() -> None:
    actions = [at(f"/things/{number}", name=f"thing{number}") for number in range(500)]
    actions += [at(f"/items/{number}/{{x}}", name=f"item{number}", parameters=("x",)) for number in range(500)]
    async with client_of(create_app(Service(actions))) as http:
        for number in (0, 250, 499):
            assert (await http.request("GET", f"/things/{number}")).json() == [f"thing{number}"]
            assert (await http.request("GET", f"/items/{number}/a")).json() == [f"item{number}", "a"]
