"""``/login``: what RFC 6749 §4.3 and §5 say, to real clients and to whoever tries passwords out."""

import asyncio
import base64
import logging
import threading
import time
import warnings
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from oauthlib.oauth2 import LegacyApplicationClient
from requests_oauthlib import OAuth2Session

from servey import WEB_GET, Authorization, ForbiddenError, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.errors import SettingsError, TooManyRequestsError
from servey.plugin import Plugin
from servey.security.access_control import ScopeAccessControl
from servey.security.rate_limit import caller
from servey.security.rate_limit.memory_storage import MemoryStorage, room_for
from servey.servey_starlette.app import create_app
from servey.servey_starlette.route_factory.login_attempts import _ACCOUNTS, LoginAttempts
from servey.servey_starlette.route_factory.token_request import MAX_BODY
from servey.service import Service
from servey.settings import Settings

with warnings.catch_warnings():  # it would rather have a successor of httpx, which is not there
    import authlib.deprecate

    warnings.simplefilter("ignore", authlib.deprecate.AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client

SECRET = "a secret for tests of 32 bytes or more"
PASSWORD = "correct horse, ünïcode & all"
FORM = {"grant_type": "password", "username": "root", "password": PASSWORD}


@action(triggers=(WEB_GET,))
async def who(authorization: Authorization | None) -> str:
    return "nobody" if authorization is None else f"{authorization.subject}: {' '.join(sorted(authorization.scopes))}"


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("read"))
async def read() -> str:
    return "read"


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("write"))
async def write() -> str:
    return "written"


ACTIONS = (who, read, write)


class Users(Plugin):
    """Lets people in by a function."""

    def __init__(self, authenticate):
        self.authenticate = authenticate

    def authenticators(self):
        return (self,)


def make(*plugins, **settings):
    settings = {
        "jwt_secret_key": SECRET,
        "debug_authenticator_password": PASSWORD,
        "environment": "development",  # so that it is for callers elsewhere, too
        **settings,
    }
    return create_app(Service(ACTIONS, plugins=plugins, settings=Settings(**settings)))


def client(app, address="192.0.2.1", **options):
    transport = httpx.ASGITransport(app, client=(address, 5000) if address else None)
    return httpx.AsyncClient(transport=transport, base_url="http://here", **options)


async def post(app, form=FORM, **options):
    async with client(app) as http:
        return await http.post("/login", data=form, **options)


def refused(answer, status, error):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["content-type"] == "application/json"
    uncached(answer)


def uncached(answer):
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"


# --- where it is ---


@pytest.mark.parametrize(
    ("environment", "address", "status"),
    [
        ("", "127.0.0.1", 200),
        ("", "::1", 200),
        ("", "192.0.2.1", 404),
        ("", "2001:db8::1", 404),
        ("development", "192.0.2.1", 200),
        ("production", "127.0.0.1", 404),
    ],
)
async def test_the_login_for_development_is_for_this_machine_unless_development_is_said(environment, address, status):
    async with client(make(environment=environment), address) as http:
        assert (await http.post("/login", data=FORM)).status_code == status


async def test_a_users_own_authenticator_is_for_everybody():
    async with client(make(Users(lambda name, password: Authorization(name)), environment="")) as http:
        assert (await http.post("/login", data=FORM)).status_code == 200


async def test_an_action_may_be_the_login():
    @action(triggers=(WebTrigger(WebTriggerMethod.POST, "/login"),))
    async def log_in(code: str) -> str:
        return f"hello {code}"

    async with client(create_app(Service([log_in, read]))) as http:
        assert (await http.post("/login", json={"code": "7"})).json() == "hello 7"


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_name_and_a_password_are_answered_with_a_token_that_opens_actions():
    app = make()
    answer = await post(app)
    assert answer.status_code == 200
    token = answer.json()
    assert set(token) == {"access_token", "token_type", "expires_in", "scope"}
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 3600, "read root write")
    uncached(answer)
    async with client(app, headers={"Authorization": f"Bearer {token['access_token']}"}) as http:
        assert (await http.get("/actions/who")).json() == "root: read root write"
        assert (await http.get("/actions/read")).json() == "read"
        assert (await http.get("/actions/write")).json() == "written"


async def test_a_token_allows_no_more_than_was_asked_for():
    app = make()
    token = (await post(app, {**FORM, "scope": "read"})).json()
    assert token["scope"] == "read"
    async with client(app, headers={"Authorization": f"Bearer {token['access_token']}"}) as http:
        assert (await http.get("/actions/read")).status_code == 200
        assert (await http.get("/actions/write")).status_code == 403


async def test_a_token_is_good_for_as_long_as_it_says():
    token = (await post(make(jwt_lifetime=60))).json()
    claims = jwt.decode(token["access_token"], options={"verify_signature": False})
    assert token["expires_in"] == 60
    assert claims["exp"] - time.time() == pytest.approx(60, abs=3)


async def test_an_account_that_expires_has_tokens_that_expire_with_it():
    until = datetime.now(UTC) + timedelta(seconds=100)
    plugin = Users(lambda name, password: Authorization(name, expires_at=until))
    token = (await post(make(plugin))).json()
    assert 95 <= token["expires_in"] <= 100
    until = datetime.now(UTC) - timedelta(seconds=1)
    refused(await post(make(plugin)), 400, "invalid_grant")


async def test_a_user_without_scopes_gets_a_token_that_names_none():
    token = (await post(make(Users(lambda name, password: Authorization(name))))).json()
    assert set(token) == {"access_token", "token_type", "expires_in"}


# --- real clients -----------------------------------------------------------------------------------------------------


def test_real_clients_log_in_and_call(serving, monkeypatch):
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    password = (
        "correct horse & all"  # Authlib cannot post another secret beside a name outside ASCII before Python 3.12
    )
    with serving(make(debug_authenticator_password=password)) as port:
        at = f"http://127.0.0.1:{port}"
        for method in ("client_secret_basic", "client_secret_post", "none"):
            with OAuth2Client("some app", "its secret", token_endpoint_auth_method=method, scope="read") as authlib:
                token = authlib.fetch_token(f"{at}/login", username="root", password=password)
                assert token["scope"] == "read"
                assert authlib.get(f"{at}/actions/who").json() == "root: read"
                assert authlib.get(f"{at}/actions/write").status_code == 403

        async def log_in():
            async with AsyncOAuth2Client() as authlib:
                await authlib.fetch_token(f"{at}/login", username="root", password=password)
                return (await authlib.get(f"{at}/actions/who")).json()

        assert asyncio.run(log_in()) == "root: read root write"
        with OAuth2Session(client=LegacyApplicationClient("some app")) as session:
            session.fetch_token(f"{at}/login", username="root", password=password, client_secret="its secret")
            assert session.get(f"{at}/actions/who", timeout=10).json() == "root: read root write"
        with OAuth2Session(client=LegacyApplicationClient("some app", scope="read write")) as session:
            session.fetch_token(f"{at}/login", username="root", password=password, include_client_id=True)
            assert session.get(f"{at}/actions/who", timeout=10).json() == "root: read write"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"username": "somebody"}, "invalid_grant"),
        ({"password": ""}, "invalid_request"),
        ({"username": ""}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": None}, "invalid_request"),
        ({"username": None}, "invalid_request"),
        ({"password": None}, "invalid_request"),
        ({"username": ["root", "root"]}, "invalid_request"),
        ({"grant_type": ["password", "password"]}, "invalid_request"),
        ({"username": "ro\0ot"}, "invalid_request"),
        ({"password": f"{PASSWORD}\n"}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "Password"}, "unsupported_grant_type"),
        ({"scope": "read nothing"}, "invalid_scope"),
        ({"scope": "read  write"}, "invalid_scope"),
        ({"scope": " read"}, "invalid_scope"),
        ({"scope": 'a"b'}, "invalid_scope"),
        ({"scope": "lesen und schreibén"}, "invalid_scope"),
    ],
)
async def test_what_is_wrong_with_the_parameters_is_said_in_the_words_of_the_rfc(changed, error):
    form = {name: value for name, value in {**FORM, **changed}.items() if value is not None}
    refused(await post(make(), form), 400, error)


@pytest.mark.parametrize(
    "more",
    [
        {"scope": ""},
        {"unknown": ["1", "2"]},
        {"resource": "https://a.example"},
        {"client_id": "x"},
        {"client_secret": "y"},
    ],
)
async def test_what_says_nothing_is_ignored(more):
    assert (await post(make(), {**FORM, **more})).json()["scope"] == "read root write"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"grant_type": "password"}', "application/json"),
        (b"grant_type=password&username=a&password=b", "text/plain"),
        (b"grant_type=password&username=a&password=b", ""),
        (b"grant_type=password&username=a&password=b", "application/x-www-form-urlencoded; charset=latin-1"),
        (b"grant_type=password&username=%FC&password=b", "application/x-www-form-urlencoded"),
        (b"grant_type=password&username=\xfc&password=b", "application/x-www-form-urlencoded"),
        (b"grant_type=password&username=%zz&password=b", "application/x-www-form-urlencoded"),
        (b"&".join([b"a=1"] * 2000), "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
    ],
)
async def test_a_body_that_is_no_form_is_refused(content, kind):
    refused(await post(make(), None, content=content, headers={"Content-Type": kind}), 400, "invalid_request")


async def test_a_compressed_body_is_refused():
    refused(await post(make(), headers={"Content-Encoding": "gzip"}), 400, "invalid_request")


async def test_a_long_body_is_refused_before_it_is_read_whole():
    read = []

    async def pieces():
        for _ in range(100):
            read.append(1)
            yield b"a" * 1024

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    refused(await post(make(), None, content=pieces(), headers=kind), 413, "invalid_request")
    assert (await post(make(), {**FORM, "unknown": "a" * (MAX_BODY - 200)})).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_post_is_taken(method):
    async with client(make()) as http:
        answer = await http.request(method, "/login")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    uncached(answer)
    if method == "HEAD":
        assert answer.content == b""
    else:
        refused(answer, 405, "invalid_request")


@pytest.mark.parametrize("name", ["username", "password", "client_secret", "grant_type", "scope"])
async def test_parameters_in_the_address_are_refused(name):
    async with client(make()) as http:
        answer = await http.post("/login", params={name: "x"}, data=FORM)
        refused(answer, 400, "invalid_request")
        assert (await http.post("/login", params={"tenant": "a"}, data=FORM)).status_code == 200


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("value", ["Basic", "Basic ???", basic("no colon"), "basic Og", "Basic /w=="])
async def test_a_client_that_names_itself_wrongly_is_told_how(value):
    answer = await post(make(), headers={"Authorization": value})
    refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("value", [basic(":"), basic("app:secret"), basic("ü:"), "Bearer an.old.token"])
async def test_whatever_client_it_is_may_log_a_user_in(value):
    assert (await post(make(), headers={"Authorization": value})).status_code == 200


async def test_a_client_authenticates_in_one_way_and_once():
    both = {**FORM, "client_id": "app", "client_secret": "secret"}
    refused(await post(make(), both, headers={"Authorization": basic("app:secret")}), 400, "invalid_request")
    twice = [("Authorization", basic("a:b")), ("Authorization", basic("a:b"))]
    refused(await post(make(), headers=twice), 400, "invalid_request")


# --- where there is a login -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"environment": "production"},
        {"debug_authenticator": False},
        {"environment": "", "server_host": "0.0.0.0"},
    ],
)
async def test_the_debug_login_is_absent(settings):
    answer = await post(make(**settings))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("settings", [{}, {"environment": "production"}, {"debug_authenticator": False}])
async def test_a_plugins_authenticator_replaces_it_in_production_too(settings):
    def authenticate(name, password):
        return Authorization(name, frozenset({"read"})) if (name, password) == ("ann", "her password") else None

    app = make(Users(authenticate), **settings)
    assert (await post(app, {**FORM, "username": "ann", "password": "her password"})).json()["scope"] == "read"
    refused(await post(app), 400, "invalid_grant")


async def test_the_first_authenticator_is_asked():
    plugins = [Users(lambda *_: Authorization("first")), Users(lambda *_: Authorization("second"))]
    token = (await post(make(*plugins))).json()["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == "first"


async def test_a_login_without_anything_that_signs_does_not_start():
    public = (
        "-----BEGIN PUBLIC KEY-----\n"
        "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        "-----END PUBLIC KEY-----\n"
    )
    keys = {"jwt_secret_key": "", "jwt_public_key": public}
    with pytest.raises(SettingsError, match="SERVEY_JWT_PRIVATE_KEY"):
        make(Users(lambda *_: Authorization("ann")), **keys)
    with pytest.raises(SettingsError, match="JWT_SECRET_KEY"):
        make(debug_authenticator=True, **keys)
    assert (await post(make(**keys))).status_code == 404  # the one for development is not asked for


# --- authenticators ---------------------------------------------------------------------------------------------------


async def test_a_plain_function_is_called_in_a_worker_thread_and_an_async_one_on_the_loop():
    threads = []

    def plain(name, password):
        threads.append(threading.current_thread().name)
        return Authorization(name)

    async def coroutine(name, password):
        threads.append(threading.current_thread().name)
        return Authorization(name)

    def returns_a_coroutine(name, password):
        return coroutine(name, password)

    for authenticate in (plain, coroutine, returns_a_coroutine):
        assert (await post(make(Users(authenticate)))).status_code == 200
    assert threads[0].startswith("servey-worker")
    assert threads[1:] == [threading.current_thread().name] * 2


@pytest.mark.parametrize("answer", [True, "root", {"sub": "root"}, 0, False])
async def test_an_authenticator_that_returns_something_else_lets_nobody_in(answer, caplog):
    refused(await post(make(Users(lambda *_: answer))), 500, "server_error")
    assert f"returned a {type(answer).__name__}" in caplog.text


async def test_an_authenticator_that_fails_is_logged_and_tells_nothing(caplog):
    def broken(name, password):
        raise RuntimeError("the database at 10.0.0.7 is gone")

    answer = await post(make(Users(broken)), headers={"X-Request-ID": "abc"})
    refused(answer, 500, "server_error")
    assert "10.0.0.7" not in answer.text
    assert "10.0.0.7" in caplog.text
    assert "request abc" in caplog.text
    assert PASSWORD not in caplog.text


async def test_an_authenticator_says_no_by_an_error_too():
    def locked(name, password):
        raise ForbiddenError("the account is locked")

    answer = await post(make(Users(locked)))
    refused(answer, 400, "invalid_grant")
    assert answer.json()["error_description"] == "the account is locked"


async def test_an_authenticator_that_hangs_is_given_up():
    release = threading.Event()

    async def hang(name, password):
        await asyncio.Event().wait()

    for authenticate in (hang, lambda name, password: release.wait(20)):
        answer = await post(make(Users(authenticate), timeout=0.1))
        refused(answer, 503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    release.set()


# --- pages of other sites ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origins", "headers", "status"),
    [
        ((), {}, 200),  # no browser
        ((), {"sec-fetch-site": "same-origin", "origin": "http://here"}, 200),
        ((), {"sec-fetch-site": "same-origin", "origin": "https://in.front.of.a.proxy"}, 200),
        ((), {"sec-fetch-site": "none"}, 200),
        ((), {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ((), {"sec-fetch-site": "cross-site"}, 403),
        ((), {"origin": "http://here"}, 200),
        ((), {"origin": "https://here"}, 200),
        ((), {"origin": "http://here.evil.example"}, 403),
        ((), {"origin": "http://here:8000"}, 403),
        ((), {"origin": "null"}, 403),
        (("https://shop.example",), {"sec-fetch-site": "cross-site", "origin": "https://shop.example"}, 200),
        (("https://shop.example",), {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        (("https://shop.example",), {"origin": "https://shop.example"}, 200),
        (("*",), {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 200),
    ],
)
async def test_a_page_of_another_site_logs_nobody_in_unless_its_origin_may_call(origins, headers, status):
    answer = await post(make(cors_origins=origins), headers=headers)
    assert answer.status_code == status
    if status == 403:
        refused(answer, 403, "access_denied")


# --- trying out -------------------------------------------------------------------------------------------------------


async def test_passwords_cannot_be_tried_out():
    app = make()
    async with client(app) as http:
        answers = [await http.post("/login", data={**FORM, "password": str(number)}) for number in range(12)]
        assert [answer.status_code for answer in answers] == [400] * 10 + [429] * 2
        refused(answers[-1], 429, "temporarily_unavailable")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert (await http.post("/login", data=FORM)).status_code == 429
    async with client(app, "192.0.2.2") as http:
        assert (await http.post("/login", data=FORM)).status_code == 200


async def test_passwords_of_one_user_cannot_be_tried_out_from_many_addresses():
    app = make()
    statuses = []
    for number in range(22):
        async with client(app, f"192.0.2.{number}") as http:
            statuses.append((await http.post("/login", data={**FORM, "password": "wrong"})).status_code)
    assert statuses == [400] * 20 + [429] * 2
    async with client(app, "192.0.2.99") as http:
        assert (await http.post("/login", data={**FORM, "username": "other"})).status_code == 400


async def test_a_network_of_ipv6_is_one_client():
    app = make()
    statuses = []
    for number in range(12):
        async with client(app, f"2001:db8::{number:x}") as http:
            form = {**FORM, "username": f"user {number}"}
            statuses.append((await http.post("/login", data=form)).status_code)
    assert statuses == [400] * 10 + [429] * 2


async def test_many_at_once_are_no_way_around_it():
    asked = []

    async def slow(name, password):
        asked.append(password)
        await asyncio.sleep(0)

    app = make(Users(slow))
    async with client(app) as http:
        answers = await asyncio.gather(
            *(http.post("/login", data={**FORM, "password": str(number)}) for number in range(40))
        )
    assert sorted(answer.status_code for answer in answers) == [400] * 10 + [429] * 30
    assert len(asked) == 10


async def test_logins_that_succeed_are_not_limited_however_many_come_at_once():
    async def slow(name, password):
        await asyncio.sleep(0)
        return Authorization(name)

    app = make(Users(slow))
    async with client(app) as http:
        answers = await asyncio.gather(*(http.post("/login", data=FORM) for _ in range(60)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await http.post("/login", data=FORM)).status_code == 200


async def failures(app, addresses, username="root"):
    """The statuses of logins that fail, one after the other; a name for all, or a function that makes one."""
    statuses = []
    for number, address in enumerate(addresses):
        name = username if isinstance(username, str) else username(number)
        async with client(app, address) as http:
            form = {**FORM, "username": name, "password": "wrong"}
            statuses.append((await http.post("/login", data=form)).status_code)
    return statuses


async def test_failures_of_a_user_are_not_forgotten_for_names_that_are_made_up():
    attempts = LoginAttempts()
    root, counted = attempts._window_of("root"), attempts._accounts
    for _ in range(19):
        counted.acquire_all([root])
    for number in range(3 * _ACCOUNTS):
        counted.acquire_all([attempts._window_of(f"made up {number}")])
    ((_, _, calls),) = counted.acquire_all([root])
    assert calls == 20
    assert counted.size <= room_for(_ACCOUNTS, 20)


@pytest.mark.parametrize("same", ["ROOT", " root", "\uff52\uff4f\uff4f\uff54"])
async def test_a_name_that_an_authenticator_may_take_for_another_is_counted_as_that_one(same):
    app = make()
    assert await failures(app, [f"192.0.2.{n}" for n in range(20)]) == [400] * 20
    assert await failures(app, ["192.0.2.99"], same) == [429]


async def test_a_site_of_ipv6_has_a_limit_of_its_own():
    app = make()
    addresses = [f"2001:db8:1:{number:x}::1" for number in range(102)]
    assert await failures(app, addresses, lambda n: f"user {n}") == [400] * 100 + [429] * 2
    assert await failures(app, ["2001:db8:2::1"], "somebody") == [400]


async def test_where_no_address_is_known_nobody_is_locked_out_by_strangers_and_the_log_says_it_once(caplog):
    caller.warn_of_no_address.cache_clear()
    app = make()
    assert await failures(app, [None] * 40, lambda n: f"user {n}") == [400] * 40
    assert await failures(app, [None] * 22) == [400] * 20 + [429] * 2
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "servey.rate_limit"]
    assert "FORWARDED_ALLOW_IPS=*" in warning


async def test_a_login_that_waits_for_others_is_given_up_at_the_deadline():
    release = asyncio.Event()

    async def hang(name, password):
        await release.wait()
        return Authorization(name)

    app = make(Users(hang), timeout=1.0)
    async with client(app) as http:
        answers = await asyncio.wait_for(asyncio.gather(*(http.post("/login", data=FORM) for _ in range(30))), 60)
        assert {answer.status_code for answer in answers} == {503}
        refused(answers[-1], 503, "temporarily_unavailable")
        release.set()
        assert (await http.post("/login", data=FORM)).status_code == 200


async def test_those_who_wait_cost_no_more_however_many_they_are(monkeypatch):
    asked = 0
    acquire_all = MemoryStorage.acquire_all

    def counted(self, windows):
        nonlocal asked
        asked += 1
        return acquire_all(self, windows)

    monkeypatch.setattr(MemoryStorage, "acquire_all", counted)
    attempts = LoginAttempts()
    at = asyncio.get_running_loop().time() + 60
    under_way = most = 0

    async def succeed():
        nonlocal under_way, most
        async with attempts.attempt("192.0.2.1", "root", at):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.wait_for(asyncio.gather(*(succeed() for _ in range(1000))), 60)
    assert asked < 1000 * 12
    assert most == 10, "as many at once as may fail"
    assert dict(attempts._running) == {}


async def test_nobody_waits_for_what_is_over():
    attempts = LoginAttempts()
    loop = asyncio.get_running_loop()
    outcomes = Counter()

    async def attempt(number):
        address, name = f"192.0.2.{number % 3}", f"user {number % 2}"
        try:
            async with attempts.attempt(address, name, loop.time() + 60) as fail:
                await asyncio.sleep(0)
                if number % 5 == 0:
                    fail()
                if number % 7 == 0:
                    raise asyncio.CancelledError
                outcomes["made"] += 1
        except TooManyRequestsError:
            outcomes["refused"] += 1
        except asyncio.CancelledError:
            outcomes["cancelled"] += 1

    tasks = [asyncio.create_task(attempt(number)) for number in range(600)]
    await asyncio.sleep(0)
    for task in tasks[100:500:9]:
        task.cancel()
    _, late = await asyncio.wait(tasks, timeout=60)
    assert not late
    assert outcomes["refused"] > 0
    assert outcomes["made"] > 0
    assert dict(attempts._running) == {}


async def test_neither_names_nor_passwords_are_logged(caplog):
    caplog.set_level(logging.DEBUG)
    app = make()
    async with client(app) as http:
        for _ in range(12):
            await http.post("/login", data={**FORM, "username": "a secret name", "password": "a secret word"})
    assert "failed" in caplog.text
    assert "a secret" not in caplog.text
