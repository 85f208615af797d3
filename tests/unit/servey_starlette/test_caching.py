"""What caches are told over HTTP, and what becomes of conditional requests."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from servey import (
    WEB_DELETE,
    WEB_GET,
    WEB_POST,
    WEB_PUT,
    Authorization,
    CallContext,
    DefinitionError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    Reply,
    ScopeAccessControl,
    WebTrigger,
    WebTriggerMethod,
)
from servey.action.action import action
from servey.cache_control import CacheHeader, SecureHashCacheControl, TimestampCacheControl, TtlCacheControl
from servey.cache_control.cache_header import etag_of
from servey.cache_control.representation import Representation
from servey.http.answer import Rendered, asked_of_cache
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client, Response
from servey.service import Service
from servey.settings import Settings

ROOT = Authorization("boss", frozenset({"root"}))
OFF = Settings(result_cache="off")
"""Without results that the server keeps: what is looked at here is what callers are told."""

GET, PUT, DELETE, POST = (
    WebTrigger(method, "/notes/{id}")
    for method in (WebTriggerMethod.GET, WebTriggerMethod.PUT, WebTriggerMethod.DELETE, WebTriggerMethod.POST)
)


def client(*actions: Any, **settings: Any) -> Client:
    return Client(create_app(Service(actions, settings=Settings(**{"result_cache": "off", **settings}))))


def told(response: Response) -> dict[str, str]:
    """The headers besides those of the content and the request."""
    own = ("content-type", "content-length", "x-request-id")
    return {name: value for name, value in response.headers.items() if name not in own}


@dataclass
class Note:
    id: int
    text: str
    changed: datetime


OLD = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
OLD_DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


# --- what is told -----------------------------------------------------------------------------------------------


@action(triggers=(WEB_GET, WEB_POST), cache_control=TtlCacheControl(30))
async def count(to: int = 3) -> list[int]:
    return list(range(to))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_time_to_live_is_told_with_validators(method: str) -> None:
    response = await client(count).request(method, "/actions/count")
    headers = told(response)
    expires = parsedate_to_datetime(headers.pop("expires"))
    assert timedelta(seconds=25) < expires - datetime.now(UTC) <= timedelta(seconds=30)
    assert headers.pop("etag").strip('"').isalnum()
    assert headers == {"cache-control": "max-age=30"}
    assert response.content == (b"" if method == "HEAD" else b"[0,1,2]")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("result_cache", ["off", "memory"])
async def test_what_answers_a_change_has_no_validators_of_what_there_is(method: str, result_cache: str) -> None:
    change = WebTrigger(WebTriggerMethod(method), "/notes/{id}")

    @action(triggers=(GET, change), cache_control=TtlCacheControl(30) & TimestampCacheControl("changed"))
    async def note(id: int) -> Note:
        return Note(id, "", OLD)

    http = client(note, result_cache=result_cache)
    for _ in range(2):
        seen = await http.request("GET", "/notes/1")
        changed = await http.request(method, "/notes/1")
        assert {"etag", "last-modified"} <= seen.headers.keys()
        assert {"etag", "last-modified"} & changed.headers.keys() == set()
        assert changed.headers["cache-control"] == "max-age=30"


async def test_a_reply_to_a_change_may_have_validators_of_its_own() -> None:
    @action(triggers=(PUT,), cache_control=TtlCacheControl(0))
    async def note(id: int) -> Reply[int]:
        return Reply(id, headers={"ETag": '"v2"', "Last-Modified": OLD_DATE})

    response = await client(note).request("PUT", "/notes/1")
    assert (response.headers["etag"], response.headers["last-modified"]) == ('"v2"', OLD_DATE)


async def test_head_has_the_headers_of_get() -> None:
    http, same = client(note_of), {"x-request-id": "same"}
    got, head = [await http.request(method, "/actions/note-of", headers=same) for method in ("GET", "HEAD")]
    assert (head.status, head.headers) == (got.status, got.headers)


@action(triggers=(WEB_GET,), cache_control=TimestampCacheControl("changed"))
async def note_of() -> Note:
    return Note(1, "a", OLD)


async def test_a_date_is_told() -> None:
    response = await client(note_of).request("GET", "/actions/note-of")
    headers = told(response)
    assert headers.pop("etag")
    assert headers == {"cache-control": "no-cache", "last-modified": OLD_DATE}


async def test_the_same_content_has_the_same_tag_in_every_process() -> None:
    @action(triggers=(WEB_GET,), cache_control=SecureHashCacheControl())
    def same() -> str:
        return "a"

    response = await client(same).request("GET", "/actions/same")
    assert told(response) == {"cache-control": "no-cache", "etag": '"ac8d8342bbb2362d13f0a559a3621bb4"'}


async def test_public_is_told_where_it_is_declared() -> None:
    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(5, public=True))
    def news() -> str:
        return "none"

    response = await client(news).request("GET", "/actions/news")
    assert response.headers["cache-control"] == "public, max-age=5"
    assert "vary" not in response.headers


async def test_a_cache_control_of_ones_own_says_it_of_each_result() -> None:
    class BySize:
        def cache_header(self, result: list[int], content: bytes) -> CacheHeader:
            return CacheHeader(max_age=len(result), etag=f"v{len(result)}", no_store=not result)

    @action(triggers=(WEB_GET,), cache_control=BySize())
    async def some(to: int) -> list[int]:
        return list(range(to))

    http = client(some)
    full, empty = [await http.request("GET", f"/actions/some?to={to}") for to in (2, 0)]
    assert (full.headers["etag"], full.headers["cache-control"]) == ('"v2"', "max-age=2")
    assert told(empty) == {"etag": '"v0"', "cache-control": "no-store"}


@pytest.mark.parametrize(
    "said",
    [
        lambda: CacheHeader(etag='"quoted"'),
        lambda: CacheHeader(max_age=-1),
        lambda: CacheHeader(last_modified="yesterday"),  # type: ignore[arg-type]
        lambda: None,
        lambda: 1 // 0,
    ],
)
async def test_a_cache_control_that_fails_is_a_defect_that_the_log_knows(said: Any, caplog: Any) -> None:
    class Broken:
        def cache_header(self, result: Any, content: bytes) -> Any:
            return said()

    @action(triggers=(WEB_GET,), cache_control=Broken(), errors=(ValueError, ZeroDivisionError, TypeError))
    async def broken() -> int:
        return 1

    with caplog.at_level(logging.ERROR):
        response = await client(broken).request("GET", "/actions/broken")
    assert (response.status, response.json()["code"]) == (500, "internal_error")
    assert "cache control" in caplog.text


async def test_without_a_cache_control_nothing_is_told_of_an_open_action() -> None:
    @action(triggers=(WEB_GET,))
    async def plain() -> int:
        return 1

    response = await client(plain).request("GET", "/actions/plain", headers={"if-none-match": "*"})
    assert (response.status, told(response)) == (200, {})


# --- who may keep it --------------------------------------------------------------------------------------------


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
async def secret() -> str:
    return "swordfish"


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"), cache_control=TtlCacheControl(30))
async def kept_secret() -> str:
    return "swordfish"


@action(triggers=(WEB_GET,), cache_control=SecureHashCacheControl())
async def about_me(caller: Authorization | None) -> str:
    return (caller and caller.subject) or "nobody"


@action(triggers=(WEB_GET,))
async def my_request(context: CallContext) -> str:
    return context.transport


@pytest.mark.parametrize(
    ("fn", "control"),
    [
        (secret, "private"),
        (kept_secret, "private, max-age=30"),
        (about_me, "private, no-cache"),
        (my_request, "private"),
    ],
)
async def test_what_tells_callers_apart_is_for_its_caller_alone(fn: Any, control: str) -> None:
    path = f"/actions/{fn.__name__.replace('_', '-')}"
    response = await client(fn).request("GET", path, authorization=ROOT)
    assert response.status == 200
    assert (response.headers["cache-control"], response.headers["vary"]) == (control, "Authorization, Cookie")


class Verifies:
    async def authorize(self, token: str) -> Authorization:
        return ROOT


@pytest.mark.parametrize("fn", [secret, kept_secret])
async def test_with_a_token_it_depends_on_the_token_alone(fn: Any) -> None:
    from servey.plugin import Plugin

    class Tokens(Plugin):
        def authorizers(self) -> tuple[Verifies, ...]:
            return (Verifies(),)

    http = Client(create_app(Service([fn], plugins=[Tokens()], settings=OFF)))
    path = f"/actions/{fn.__name__.replace('_', '-')}"
    response = await http.request("GET", path, headers={"authorization": "Bearer x"})
    assert (response.status, response.headers["vary"]) == (200, "Authorization")


@pytest.mark.parametrize(
    "control", [TtlCacheControl(1, public=True), SecureHashCacheControl(public=True) & TtlCacheControl(1)]
)
def test_what_tells_callers_apart_cannot_be_declared_public(control: Any) -> None:
    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"), cache_control=control)
    async def leaked() -> str:
        return "swordfish"

    @action(triggers=(WEB_GET,), cache_control=control)
    async def mine(caller: Authorization | None) -> str:
        return "x"

    for fn in (leaked, mine):
        with pytest.raises(DefinitionError) as raised:
            Service([fn])
        assert raised.value.where[0].startswith("tests/unit/servey_starlette/test_caching.py:")
        assert raised.value.fix


@pytest.mark.parametrize("value", ["public", "max-age=5, s-maxage=5"])
@pytest.mark.parametrize("control", [None, TtlCacheControl(30)])
async def test_a_reply_cannot_share_what_is_private(value: str, control: Any, caplog: Any) -> None:
    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"), cache_control=control)
    async def leaked() -> Reply[str]:
        return Reply("swordfish", headers={"Cache-Control": value})

    with caplog.at_level(logging.ERROR):
        response = await client(leaked).request("GET", "/actions/leaked", authorization=ROOT)
    assert (response.status, b"swordfish" in response.content) == (500, False)
    assert "only for its caller" in caplog.text


@pytest.mark.parametrize("control", [None, TtlCacheControl(30)])
async def test_the_headers_of_a_reply_go_first_and_stay_private(control: Any) -> None:
    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"), cache_control=control)
    async def page() -> Reply[str]:
        return Reply(
            "x", headers={"Cache-Control": "max-age=5", "Vary": "Accept-Language", "Link": "<y>", "ETag": '"v1"'}
        )

    response = await client(page).request("GET", "/actions/page", authorization=ROOT)
    headers = told(response)
    assert ("expires" in headers) == (control is not None)
    headers.pop("expires", None)
    assert headers == {
        "cache-control": "private, max-age=5",
        "vary": "Authorization, Cookie, Accept-Language",
        "link": "<y>",
        "etag": '"v1"',
    }


async def test_an_answer_with_a_cookie_goes_into_no_cache() -> None:
    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(30))
    async def welcome() -> Reply[str]:
        return Reply("x", headers={"Set-Cookie": "a=b"})

    http = client(welcome)
    first = await http.request("GET", "/actions/welcome")
    assert (first.headers["cache-control"], first.headers["set-cookie"]) == ("no-store", "a=b")
    again = await http.request("GET", "/actions/welcome", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.headers["set-cookie"]) == (304, "a=b")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/actions/secret", 401), ("/actions/count?to=x", 422), ("/actions/nothing", 404), ("/nowhere", 404)],
)
async def test_no_cache_keeps_a_problem(path: str, status: int) -> None:
    response = await client(secret, count).request("GET", path)
    assert (response.status, response.headers["cache-control"]) == (status, "no-store")
    assert "etag" not in response.headers


async def test_an_error_may_say_for_itself_how_long_it_may_be_kept() -> None:
    @action(triggers=(WEB_GET,), cache_control=TtlCacheControl(30))
    async def gone() -> str:
        error = GoneError("for good")
        error.headers["Cache-Control"] = "max-age=60"
        raise error

    response = await client(gone).request("GET", "/actions/gone")
    assert (response.status, response.headers["cache-control"]) == (410, "max-age=60")


# --- 304 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', "*"])
async def test_who_has_it_is_not_sent_it_again(method: str, form: str) -> None:
    http = client(count)
    tag = (await http.request("GET", "/actions/count")).headers["etag"]
    response = await http.request(method, "/actions/count", headers={"if-none-match": form.format(tag)})
    assert (response.status, response.content) == (304, b"")
    assert response.headers["etag"] == tag
    assert {*response.headers} == {"etag", "cache-control", "expires", "x-request-id"}


async def test_a_304_of_what_is_private_says_so_too() -> None:
    response = await client(kept_secret).request(
        "GET", "/actions/kept-secret", headers={"if-none-match": "*"}, authorization=ROOT
    )
    assert response.status == 304
    assert (response.headers["cache-control"], response.headers["vary"]) == (
        "private, max-age=30",
        "Authorization, Cookie",
    )


async def test_several_header_lines_are_one_list() -> None:
    http = client(count)
    tag = (await http.request("GET", "/actions/count")).headers["etag"]
    lines = [("if-none-match", tag), ("if-none-match", '"other"')]
    assert (await http.request("GET", "/actions/count", headers=lines)).status == 304


async def test_a_line_that_cannot_be_read_spoils_the_list_wherever_it_is() -> None:
    http = client(count)
    tag = (await http.request("GET", "/actions/count")).headers["etag"]
    for lines in (["junk", tag], [tag, "junk"], [tag, tag + "x"]):
        sent = [("if-none-match", line) for line in lines]
        assert (await http.request("GET", "/actions/count", headers=sent)).status == 200


async def test_another_content_is_sent() -> None:
    http = client(count)
    tag = (await http.request("GET", "/actions/count")).headers["etag"]
    response = await http.request("GET", "/actions/count?to=4", headers={"if-none-match": tag})
    assert (response.status, response.content) == (200, b"[0,1,2,3]")


async def test_who_has_it_since_it_changed_is_not_sent_it_again() -> None:
    response = await client(note_of).request("GET", "/actions/note-of", headers={"if-modified-since": OLD_DATE})
    assert (response.status, "last-modified" in response.headers) == (304, False)
    before = {"if-modified-since": "Sun, 01 Mar 2026 11:59:59 GMT"}
    assert (await client(note_of).request("GET", "/actions/note-of", headers=before)).status == 200


async def test_nobody_who_is_not_let_in_learns_that_nothing_has_changed() -> None:
    for headers in ({"if-none-match": "*"}, {"if-match": '"x"'}):
        assert (await client(kept_secret).request("GET", "/actions/kept-secret", headers=headers)).status == 401


async def test_a_condition_of_a_get_may_fail() -> None:
    response = await client(count).request("GET", "/actions/count", headers={"if-match": '"x"'})
    assert (response.status, response.json()["code"]) == (412, "precondition_failed")
    assert response.headers["cache-control"] == "no-store"


async def test_a_condition_that_fails_goes_before_one_that_saves_the_answer() -> None:
    http = client(note_of)
    tag = (await http.request("GET", "/actions/note-of")).headers["etag"]
    before = "Sun, 01 Mar 2026 11:59:59 GMT"
    for failing in ({"if-match": '"x"'}, {"if-unmodified-since": before}):
        response = await http.request("GET", "/actions/note-of", headers={**failing, "if-none-match": tag})
        assert response.status == 412


async def test_conditions_hold_for_every_success_and_for_nothing_else() -> None:
    @action(triggers=(WEB_GET,), cache_control=SecureHashCacheControl())
    async def answer(status: int) -> Reply[str]:
        return Reply("x", status=status)

    http = client(answer)
    told = {}
    for status in (200, 203, 302, 308):
        headers = {"if-none-match": "*"}
        told[status] = (await http.request("GET", f"/actions/answer?status={status}", headers=headers)).status
    assert told == {200: 304, 203: 304, 302: 302, 308: 308}


async def test_a_post_is_not_answered_by_a_304() -> None:
    @action(triggers=(WEB_POST,), cache_control=TtlCacheControl(30))
    async def search() -> list[int]:
        return [0]

    http, tag = client(search), f'"{etag_of(b"[0]")}"'
    for headers in ({"if-none-match": tag}, {"if-match": '"other"'}):
        response = await http.request("POST", "/actions/search", headers=headers)
        assert (response.status, response.content) == (200, b"[0]")


# --- what a request asks of kept results --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ([], (None, True)),
        ([("cache-control", "no-cache")], (0, True)),
        ([("cache-control", "max-age=0")], (0, True)),
        ([("cache-control", "Max-Age=5")], (5, True)),
        ([("cache-control", "no-store")], (0, False)),
        ([("cache-control", "max-stale=5")], (None, True)),
        ([("cache-control", "max-age=soon")], (None, True)),
        ([("cache-control", "max-age=5"), ("cache-control", "no-cache")], (0, True)),
        ([("pragma", "no-cache")], (0, True)),
        ([("pragma", "no-cache"), ("cache-control", "max-age=5")], (5, True)),
        ([("cache-control", "")], (None, True)),
    ],
)
def test_a_request_says_how_old_a_result_may_be(headers: Any, asked: Any) -> None:
    assert asked_of_cache([(name.encode(), value.encode()) for name, value in headers]) == asked


async def test_a_kept_result_tells_its_age_and_is_made_anew_on_demand() -> None:
    made: list[int] = []

    @action(triggers=(WEB_GET, WEB_POST), cache_control=TtlCacheControl(30))
    async def number() -> int:
        made.append(0)
        return len(made)

    http = client(number, result_cache="memory")
    first, kept = [await http.request("POST", "/actions/number") for _ in range(2)]
    assert ("age" in first.headers, int(kept.headers["age"]) < 5, kept.json()) == (False, True, 1)
    assert kept.headers["cache-status"].startswith("servey; hit; ttl=2")
    assert {**told(kept), "age": "", "cache-status": ""} == {**told(first), "age": "", "cache-status": ""}
    anew = await http.request("GET", "/actions/number", headers={"cache-control": "no-cache"})
    assert (anew.json(), "age" in anew.headers) == (2, False)
    unchanged = await http.request("GET", "/actions/number", headers={"if-none-match": anew.headers["etag"]})
    assert (unchanged.status, "age" in unchanged.headers, len(made)) == (304, True, 2)
    assert unchanged.headers["cache-status"].startswith("servey; hit; ttl=2")


async def test_what_a_reply_says_of_its_age_grows_while_it_is_kept() -> None:
    now = 1000.0
    made = Representation.of(b"1", CacheHeader(max_age=60), private=False, headers={"Age": "20"}, made_at=now)
    rendered = Rendered(made, reads=True, by_cookie=False)
    for age, status in ((0, "fwd=uri-miss; stored"), (0, "hit; ttl=60"), (7, "hit; ttl=53")):
        for lines in rendered.headers(age, status):
            assert [value for name, value in lines if name == b"age"] == [b"%d" % (20 + age)]


# --- writes -----------------------------------------------------------------------------------------------------


class Notes:
    """A service with one note, and what may be done with it."""

    def __init__(self, **get_options: Any) -> None:
        self.notes = {1: Note(1, "first", OLD)}
        self.reads = 0
        options: dict[str, Any] = {"cache_control": TimestampCacheControl("changed"), **get_options}

        @action(triggers=(GET,), **options)
        async def get_note(id: int) -> Note:
            self.reads += 1
            if id not in self.notes:
                raise NotFoundError("no such note")
            return self.notes[id]

        @action(triggers=(PUT, POST))
        async def put_note(id: int, text: str) -> Note:
            note = self.notes.get(id) or Note(id, "", OLD)
            self.notes[id] = replace(note, text=text, changed=note.changed + timedelta(days=1))
            return self.notes[id]

        @action(triggers=(DELETE,), status=204)
        async def delete_note(id: int) -> None:
            self.notes.pop(id, None)

        self.actions = (get_note, put_note, delete_note)
        self.http = client(*self.actions)

    async def change(self, method: str = "PUT", id: int = 1, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        json = None if method == "DELETE" else {"text": "second"}
        return await self.http.request(method, f"/notes/{id}", json=json, headers=named)

    async def tag(self) -> str:
        return (await self.http.request("GET", "/notes/1")).headers["etag"]


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_a_change_is_made_when_nothing_has_changed_meanwhile(method: str) -> None:
    notes = Notes()
    seen = await notes.tag()
    assert (await notes.change(method, if_match=seen)).status in (200, 204)
    missed = await notes.change(method, if_match=seen)
    assert (missed.status, missed.json()["code"]) == (412, "precondition_failed")


@pytest.mark.parametrize(
    ("id", "headers", "status"),
    [
        (1, {}, 200),
        (1, {"if_match": '"other"'}, 412),
        (1, {"if_match": "*"}, 200),
        (2, {"if_match": "*"}, 412),
        (2, {"if_match": '"other"'}, 412),
        (1, {"if_none_match": "*"}, 412),
        (2, {"if_none_match": "*"}, 200),
        (1, {"if_none_match": '"other"'}, 200),
        (1, {"if_none_match": "other"}, 412),
        (1, {"if_unmodified_since": OLD_DATE}, 200),
        (1, {"if_unmodified_since": "Sun, 01 Mar 2026 11:59:59 GMT"}, 412),
        (1, {"if_unmodified_since": "yesterday"}, 200),
        (1, {"if_modified_since": OLD_DATE}, 200),
    ],
)
async def test_every_condition_of_a_change(id: int, headers: dict[str, str], status: int) -> None:
    notes = Notes()
    before = dict(notes.notes)
    assert (await notes.change(id=id, **headers)).status == status
    assert (notes.notes == before) == (status == 412)


@pytest.mark.parametrize("ago", [0, 1.5])
async def test_a_date_that_was_told_allows_a_change_for_as_long_as_nothing_changes(ago: float) -> None:
    notes = Notes(cache_control=TtlCacheControl(60) & TimestampCacheControl("changed"))
    notes.http = client(*notes.actions, result_cache="memory")
    notes.notes[1] = Note(1, "new", datetime.now(UTC) - timedelta(seconds=ago))
    for _ in range(2):  # made, and kept
        seen = (await notes.http.request("GET", "/notes/1")).headers.get("last-modified")
        assert (seen is not None) == (ago > 0)
    if seen is not None:
        assert (await notes.change(if_unmodified_since=seen)).status == 200


async def test_without_a_condition_nothing_is_read() -> None:
    notes = Notes()
    await notes.change()
    assert notes.reads == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"if_modified_since": OLD_DATE},
        {"if_unmodified_since": "yesterday"},
        {"if_modified_since": OLD_DATE, "if_unmodified_since": ""},
    ],
)
async def test_what_is_no_condition_of_a_change_asks_nobody(headers: dict[str, str]) -> None:
    notes = Notes(access_control=ScopeAccessControl("read"))
    assert ((await notes.change(**headers)).status, notes.reads) == (200, 0)


async def test_what_is_wrong_with_the_request_is_told_first() -> None:
    notes = Notes()
    response = await notes.http.request("PUT", "/notes/1", json={}, headers={"if-match": '"other"'})
    assert (response.status, notes.reads) == (422, 0)


async def test_a_condition_is_ignored_where_nobody_knows_what_there_is() -> None:
    notes = Notes(cache_control=None)
    assert (await notes.change(if_match='"other"')).status == 200


async def test_a_condition_is_ignored_where_more_is_needed_to_know() -> None:
    @action(triggers=(GET,), cache_control=SecureHashCacheControl())
    async def get_page(id: int, page: int) -> int:
        return page

    @action(triggers=(PUT,))
    async def put_page(id: int) -> int:
        return id

    response = await client(get_page, put_page).request("PUT", "/notes/1", headers={"if-match": '"x"'})
    assert response.status == 200


async def test_the_parameter_of_the_path_may_be_called_otherwise() -> None:
    seen: list[Any] = []

    @action(triggers=(WebTrigger(WebTriggerMethod.GET, "/a/{x}/b/{y}"),), cache_control=SecureHashCacheControl())
    async def get_it(y: str, x: int, more: int = 5) -> int:
        seen.append((x, y, more))
        return 1

    @action(triggers=(WebTrigger(WebTriggerMethod.PUT, "/a/{y}/b/{x}"),))
    async def put_it(y: str, x: str) -> int:
        return 2

    http = client(get_it, put_it)
    assert (await http.request("PUT", "/a/7/b/%2F", headers={"if-none-match": "*"})).status == 412
    assert seen == [(7, "/", 5)]
    # where no GET could be answered there is nothing
    assert (await http.request("PUT", "/a/seven/b/z", headers={"if-match": "*"})).status == 412
    assert (await http.request("PUT", "/a/seven/b/z", headers={"if-none-match": "*"})).status == 200


async def test_nobody_learns_what_there_is_who_may_not_read_it() -> None:
    notes = Notes(access_control=ScopeAccessControl("read"))
    response = await notes.change(if_match='"whatever"')
    assert (response.status, notes.reads, notes.notes[1].text) == (401, 0, "first")


async def test_who_may_read_it_is_asked_as_who_calls() -> None:
    subjects: list[str | None] = []

    class Asks:
        async def check(self, authorization: Authorization | None) -> None:
            subjects.append(authorization and authorization.subject)
            if authorization != ROOT:
                raise ForbiddenError

    notes = Notes(access_control=Asks())
    path, json, headers = "/notes/1", {"text": "x"}, {"if-none-match": "*"}
    response = await notes.http.request("PUT", path, json=json, headers=headers, authorization=ROOT)
    assert (response.status, subjects) == (412, ["boss"])
    somebody = Authorization("somebody")
    response = await notes.http.request("PUT", path, json=json, headers=headers, authorization=somebody)
    assert (response.status, subjects) == (403, ["boss", "somebody"])


async def test_a_failing_read_lets_nothing_be_changed() -> None:
    notes = Notes()
    notes.notes[1] = None  # type: ignore[assignment]
    response = await notes.change(if_match="*")
    assert (response.status, notes.notes[1]) == (500, None)


async def test_the_question_and_the_change_have_the_time_of_one_call() -> None:
    begun: list[float] = []

    class Slow:
        async def check(self, authorization: Authorization | None) -> None:
            begun.append(asyncio.get_running_loop().time())
            await asyncio.Event().wait()

    @action(triggers=(GET,), access_control=Slow(), cache_control=SecureHashCacheControl(), timeout=30)
    async def get_it(id: int) -> int:
        return id

    @action(triggers=(PUT,), timeout=0.5)
    async def put_it(id: int) -> int:
        return id

    response = await client(get_it, put_it).request("PUT", "/notes/1", headers={"if-match": "*"})
    assert (response.status, len(begun)) == (504, 1)


class Versions:
    """A cache control of a write that knows what there is."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def cache_header(self, result: Any, content: bytes) -> CacheHeader:
        return CacheHeader(no_store=True)

    def current_etag(self, params: Any) -> str | None:
        self.asked.append(dict(params))
        return {"there": "v1", "wrong": '"v1"'}.get(params["name"])


class AsyncVersions(Versions):
    async def current_etag(self, params: Any) -> str | None:  # type: ignore[override]
        return super().current_etag(params)


class LaterVersions(AsyncVersions):
    def current_etag(self, params: Any) -> Any:
        return super().current_etag(params)


@pytest.mark.parametrize("versions", [Versions(), AsyncVersions(), LaterVersions()])
@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [
        ("there", {"if-match": '"v1"'}, 200),
        ("there", {"if-match": '"v0"'}, 412),
        ("there", {"if-none-match": "*"}, 412),
        ("new", {"if-none-match": "*"}, 200),
        ("new", {"if-match": "*"}, 412),
        ("wrong", {"if-match": '"v1"'}, 500),
    ],
)
async def test_a_write_may_know_itself_what_there_is(
    versions: Versions, name: str, headers: dict[str, str], status: int
) -> None:
    calls: list[str] = []

    @action(triggers=(WEB_PUT, WEB_DELETE), cache_control=versions, errors=(ValueError,))
    async def store(name: str, size: int = 5) -> str:
        calls.append(name)
        return name

    http = client(store, result_cache="memory")
    response = await http.request("PUT", "/actions/store", json={"name": name}, headers=headers)
    assert (response.status, len(calls)) == (status, status == 200)
    assert versions.asked.pop() == {"name": name, "size": 5}
    if status == 200:  # and never from a cache
        assert (await http.request("PUT", "/actions/store", json={"name": name}, headers=headers)).status == 200
        assert len(calls) == 2


async def test_what_there_is_is_never_what_was_kept() -> None:
    notes = Notes(cache_control=TtlCacheControl(3600))
    notes.http = client(*notes.actions, result_cache="memory")
    first = await notes.tag()
    notes.notes[1] = replace(notes.notes[1], text="elsewhere")
    assert (await notes.tag()) == first
    assert (await notes.change(if_match=first)).status == 412


async def test_a_page_of_another_origin_may_send_conditions_and_see_validators() -> None:
    notes = Notes()
    http = client(*notes.actions, cors_origins=("https://example.com",))
    asked = "if-match, if-none-match, if-modified-since, if-unmodified-since, cache-control"
    preflight = {
        "origin": "https://example.com",
        "access-control-request-method": "PUT",
        "access-control-request-headers": asked,
    }
    assert (await http.request("OPTIONS", "/notes/1", headers=preflight)).status == 200
    got = await http.request("GET", "/notes/1", headers={"origin": "https://example.com", "if-none-match": "*"})
    assert (got.status, got.headers["vary"]) == (304, "Origin")
    shown = got.headers["access-control-expose-headers"].split(", ")
    assert {"Age", "Cache-Status", "ETag", "RateLimit", "RateLimit-Policy"} <= {*shown}
