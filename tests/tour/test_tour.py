"""The tour as its reader has it: its own tests pass, and its server does what its README says."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

TOUR = Path(__file__).parents[2] / "examples" / "tour"

DORA = {"name": "Dora", "street": "Gasse 4", "postcode": "80331", "city": "München"}


@dataclass
class Running:
    process: subprocess.Popen
    url: str
    log: Path


def environment(**variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONWARNINGS": "error", **variables}


def start(directory: Path, **variables: str) -> Running:
    """Start the tour on a port that the operating system chooses, and return when it answers."""
    log = directory / "log"
    temporary = directory / "tmp"
    temporary.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "servey"],
            cwd=TOUR,
            env=environment(
                SERVER_PORT="0", TMPDIR=str(temporary), SERVEY_STORE=str(directory / "store" / "calls.db"), **variables
            ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    until = time.monotonic() + 60
    while (found := re.search(r"running on (http://[\w.]+:\d+)", log.read_text())) is None:
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < until, log.read_text()
        else:
            raise AssertionError(log.read_text())
    return Running(process, found[1], log)


def stop(running: Running) -> int:
    running.process.send_signal(signal.SIGTERM)
    return running.process.wait(30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started = start(tmp_path_factory.mktemp("tour"), SERVEY_PLUGINS="actions.people:People")
    try:
        yield started
    finally:
        if started.process.poll() is None:
            stop(started)


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=30) as opened:
        yield opened


def register(client: httpx.Client, **members: object) -> str:
    response = client.post("/parcels", json={"depot": "HAM", "recipient": DORA, "weight": "1.2", **members})
    assert response.status_code == 201
    return response.headers["location"]


def bearer(client: httpx.Client, name: str, password: str = "parcels-for-all") -> dict[str, str]:
    """Log in; return the header that says so."""
    form = {"grant_type": "password", "username": name, "password": password}
    response = client.post("/login", data=form)
    assert response.status_code == 200, response.text
    return {"Authorization": f"Bearer {response.json()['access_token']}"}


def problem(response: httpx.Response) -> tuple[int, str, list[str]]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["request_id"]) == (response.status_code, response.headers["x-request-id"])
    return body["status"], body["code"], [item["path"] for item in body.get("errors", ())]


def test_every_example_is_right():
    run = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "-s", "tests"],
        cwd=TOUR,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(re.search(r"Ran (\d+) tests", run.stderr)[1]) > 80


def test_every_action_has_an_example_of_a_result_and_of_an_error_where_it_takes_something():
    code = (
        "from servey.service import Service\n"
        "for name, operation in Service.from_settings().operations.items():\n"
        "    errors = {item.example.error is not None for item in operation.examples}\n"
        "    print(name, errors == ({True, False} if operation.arguments.parameters else {False}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TOUR,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert len(lines) > 15
    # these take nothing but a caller
    callers = ("revenue", "my_parcels", "only_for_root")
    assert [line for line in lines if line.endswith("False") and not line.startswith(callers)] == []


def test_hello(client):
    response = client.get("/actions/say-hello", params={"name": "Wörld & co"})
    assert (response.status_code, response.json()) == (200, "Hello Wörld & co!")


def test_a_parcel_is_shown_whole(client):
    assert client.get("/parcels/P-1003").json() == {
        "id": "P-1003",
        "state": "delivered",
        "recipient": {"name": "Cleo", "street": "Ring 3", "postcode": "1010", "city": "Wien", "country": "AT"},
        "weight": "12.000",
        "price": "23.49",
        "handling": ["cool"],
        "registered_at": "2026-03-03T10:45:00Z",
        "note": "Ring twice",
    }


def test_what_is_not_there_and_what_is_no_id(client):
    assert problem(client.get("/parcels/P-9999")) == (404, "not_found", [])
    assert problem(client.get("/parcels/1001")) == (422, "invalid", ["/id"])
    assert problem(client.get("/nothing")) == (404, "not_found", [])


def test_the_list_is_filtered(client):
    def ids(**query: object) -> list[str]:
        response = client.get("/parcels", params=query)
        assert response.status_code == 200, response.text
        return [parcel["id"] for parcel in response.json()]

    assert ids(city="Wien", state=["delivered", "returned"]) == ["P-1003"]
    assert ids(city="Wien", state="registered") == []
    assert ids(city="Hamburg", since="2026-03-02T10:30:00+01:00", lighter_than="2.401") == ["P-1002"]
    assert ids(city="Hamburg", since="2026-03-02T10:30:01+01:00") == ids(city="Hamburg", lighter_than="2.4") == []
    assert ids(city="Berlin", limit=1) == ["P-1001"]
    assert problem(client.get("/parcels", params={"limit": 0})) == (422, "invalid", ["/limit"])
    assert problem(client.get("/parcels", params={"town": "Berlin"})) == (422, "invalid", ["/town"])


def test_every_mistake_in_a_body_is_told_with_its_place(client):
    body = {"depot": "HAM", "recipient": {**DORA, "name": "", "fax": "1"}, "weight": "31", "handling": ["fragil"]}
    assert problem(client.post("/parcels", json=body)) == (
        422,
        "invalid",
        ["/recipient/name", "/recipient/fax", "/weight", "/handling/0"],
    )
    assert problem(client.post("/parcels", content=b"{", headers={"content-type": "application/json"}))[0] == 400
    assert problem(client.post("/parcels", content=b"{}", headers={"content-type": "text/plain"}))[0] == 415


def test_the_life_of_a_parcel(client):
    place = register(client, handling=["fragile"])
    assert client.get(place).json()["recipient"] == {**DORA, "country": "DE"}
    moved = client.put(f"{place}/recipient", json={"recipient": {**DORA, "city": "Graz", "country": "AT"}})
    assert moved.json()["recipient"]["city"] == "Graz"
    assert client.patch(place, json={"weight": "2"}).json()["price"] == "10.99"
    for state in ("in_transit", "delivered"):
        step = {"depot": "VIE", "state": state, "at": "2026-03-05T09:00:00+01:00"}
        response = client.post(f"{place}/events", json=step)
        assert (response.status_code, response.json()) == (201, step)
    assert problem(client.post(f"{place}/events", json=step))[:2] == (409, "illegal_step")
    assert problem(client.put(f"{place}/recipient", json={"recipient": DORA}))[:2] == (409, "conflict")
    assert problem(client.delete(place))[:2] == (409, "conflict")


def test_what_is_cancelled_is_gone(client):
    place = register(client)
    response = client.delete(place)
    assert (response.status_code, response.content) == (204, b"")
    assert problem(client.get(place))[0] == 404


def test_a_call_that_fails_leaves_nothing_behind(client):
    before = client.get("/parcels", params={"limit": 1}).json()
    response = client.post("/parcels", json={"depot": "XXX", "recipient": DORA, "weight": "1"})
    assert problem(response)[:2] == (409, "conflict")
    assert client.get("/parcels", params={"limit": 1}).json() == before


def test_put_makes_and_changes(client):
    depot, henk = {"city": "Köln", "capacity": 90}, bearer(client, "henk")
    first, second = (client.put("/depots/CGN", json=depot, headers=henk) for _ in range(2))
    assert (first.status_code, first.headers["location"]) == (201, "/depots/CGN")
    assert (second.status_code, second.json()) == (200, {"code": "CGN", **depot})


def test_head_options_and_other_methods(client):
    got, head, options = (client.request(method, "/parcels/P-1002") for method in ("GET", "HEAD", "OPTIONS"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))
    assert (options.status_code, options.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH")
    refused = client.post("/parcels/P-1002", json={})
    assert problem(refused)[:2] == (405, "method_not_allowed")
    assert refused.headers["allow"] == options.headers["allow"]


def test_a_nested_action_takes_self(client):
    response = client.post("/actions/number-stats-factorial", json={"self": {"value": 21}})
    assert response.json() == 51090942171709440000
    negative = client.post("/actions/number-stats-factorial", json={"self": {"value": -1}})
    assert problem(negative) == (422, "invalid", ["/self/value"])


def test_nobody_reads_the_accounts_without_a_token(client):
    response = client.get("/actions/revenue")
    assert problem(response)[:2] == (401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"


def test_the_users_of_the_database_log_in_and_nobody_else(client):
    ada = bearer(client, "ada")
    told = client.get("/actions/echo-authorization", headers=ada).json()
    assert (told["subject"], told["scopes"]) == ("ada", [])
    assert client.get("/actions/echo-authorization").json() is None
    for name, password in (("ada", "parcels"), ("mia", "parcels-for-all"), ("", "")):
        form = {"grant_type": "password", "username": name, "password": password}
        response = client.post("/login", data=form)
        assert response.status_code == 400, response.text
        assert response.json()["error"] in ("invalid_grant", "invalid_request")


def test_everybody_may_do_what_their_scopes_say(client):
    ada, henk, root = (bearer(client, name) for name in ("ada", "henk", "root"))
    depot = {"city": "Wien", "capacity": 120}
    for caller, statuses in ((ada, (403, 403, 403)), (henk, (403, 403, 200)), (root, (200, 200, 200))):
        secret, revenue = (client.get(f"/actions/{name}", headers=caller) for name in ("only-for-root", "revenue"))
        put = client.put("/depots/VIE", json=depot, headers=caller)
        assert (secret.status_code, revenue.status_code, put.status_code) == statuses
    assert client.get("/actions/only-for-root", headers=root).json() == "Some Secret Data!"


def test_the_receipt_follows_the_registration(client):
    place = register(client)
    until = time.monotonic() + 60
    while (response := client.get(f"{place}/receipt")).status_code == 404:
        assert time.monotonic() < until, "there is no receipt"
        time.sleep(0.05)
    assert response.json()["price"] == client.get(place).json()["price"]


def test_the_nightly_report_is_a_schedule(running):
    assert "30 2 * * * Europe/Berlin  nightly_report" in running.log.read_text()


def test_my_parcels_are_mine_and_no_cache_gives_them_to_somebody_else(client):
    ada, henk = bearer(client, "ada"), bearer(client, "henk")
    body = {"depot": "HAM", "recipient": DORA, "weight": "1.2"}
    place = client.post("/parcels", json=body, headers=henk).headers["location"]
    mine = client.get("/my/parcels", headers=henk)
    assert [f"/parcels/{parcel['id']}" for parcel in mine.json()] == [place]
    assert place not in client.get("/my/parcels", headers=ada).text
    assert "private" in mine.headers["cache-control"]
    assert "authorization" in mine.headers["vary"].lower()
    assert problem(client.get("/my/parcels"))[0] == 401
    same = client.get("/my/parcels", headers={**henk, "If-None-Match": mine.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


def test_the_report_is_kept_until_a_parcel_changes(client):
    def report() -> tuple[int, str]:
        response = client.get("/actions/parcel-statistics")
        return response.json()["registered"], response.headers["cache-status"]

    register(client)
    before, first = report()
    same, second = report()
    assert ("stored" in first, "hit" in second, same) == (True, True, before)
    register(client)
    after, third = report()
    assert ("hit" in third, after) == (False, before + 1)


def test_a_change_is_not_lost_when_somebody_else_was_quicker(client):
    place = register(client)
    known = client.get(place).headers["etag"]
    first = client.patch(place, json={"note": "Ring twice"}, headers={"If-Match": known})
    second = client.patch(place, json={"note": "Do not ring"}, headers={"If-Match": known})
    assert first.status_code == 200
    assert problem(second)[:2] == (412, "precondition_failed")
    assert client.get(place).json()["note"] == "Ring twice"
    assert problem(client.delete(place, headers={"If-Match": known}))[0] == 412


def test_a_depot_is_made_and_never_changed_where_that_is_the_condition(client):
    henk = bearer(client, "henk")
    only_new = {**henk, "If-None-Match": "*"}
    first, second = (
        client.put("/depots/LEJ", json={"city": city, "capacity": 9}, headers=only_new) for city in ("Leipzig", "Halle")
    )
    assert first.status_code == 201
    assert problem(second)[0] == 412
    assert client.get("/depots/LEJ").json()["city"] == "Leipzig"


def test_the_carriers_are_asked_thirty_times_a_minute_by_one_caller(client):
    ada = bearer(client, "ada")
    answers = [client.get("/actions/compare-carriers", params={"weight": "2"}, headers=ada) for _ in range(31)]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429]
    assert problem(answers[-1])[1] == "too_many_requests"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[0].headers["ratelimit"].startswith('"default";r=29;')


def test_without_the_plugin_there_is_the_login_for_development(tmp_path):
    started = start(tmp_path, SERVEY_DEBUG_AUTHENTICATOR_PASSWORD="a password of mine")
    try:
        with httpx.Client(base_url=started.url, timeout=30) as client:
            root = bearer(client, "root", "a password of mine")
            assert client.get("/actions/only-for-root", headers=root).json() == "Some Secret Data!"
    finally:
        stop(started)


def test_in_production_nobody_logs_in_whom_nobody_added(tmp_path):
    variables = {
        "SERVEY_PLUGINS": "actions.people:People",
        "SERVEY_ENV": "production",
        "JWT_SECRET_KEY": "a secret of at least thirty-two bytes",
        "TOUR_DATABASE": str(tmp_path / "parcels.sqlite3"),
    }
    event = '{"name": "mia", "password": "a long secret", "scopes": ["depots"]}'
    started = start(tmp_path, **variables)
    try:
        with httpx.Client(base_url=started.url, timeout=30) as client:
            form = {"grant_type": "password", "username": "root", "password": "parcels-for-all"}
            assert client.post("/login", data=form).status_code == 400
            command = [sys.executable, "-m", "servey", "call", "add_user", "--event", event]
            subprocess.run(command, cwd=TOUR, env=environment(**variables), timeout=60, check=True)
            mia = bearer(client, "mia", "a long secret")
            assert client.get("/actions/echo-authorization", headers=mia).json()["scopes"] == ["depots"]
    finally:
        stop(started)


def test_fifty_calls_at_once(running):
    async def main() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
            body = {"depot": "BER", "recipient": {**DORA, "city": "Everywhere"}, "weight": "0.5"}
            return await asyncio.gather(*(client.post("/parcels", json=body) for _ in range(50)))

    responses = asyncio.run(main())
    assert [response.status_code for response in responses] == [201] * 50
    assert len({response.json()["id"] for response in responses}) == 50
    listed = httpx.get(f"{running.url}/parcels", params={"city": "Everywhere", "limit": 100}, timeout=30)
    assert len(listed.json()) == 50


def test_sigterm_ends_it_and_what_it_opened(tmp_path):
    started = start(tmp_path)
    assert httpx.get(f"{started.url}/readyz", timeout=30).status_code == 200
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert stop(started) == -signal.SIGTERM  # uvicorn stops in good order and then passes the signal on
    log = started.log.read_text()
    assert "by force" not in log
    assert "Traceback" not in log
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_database_of_ones_own_is_kept(tmp_path):
    file = tmp_path / "parcels.sqlite3"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        started = start(tmp_path / name, TOUR_DATABASE=str(file))
        with httpx.Client(base_url=started.url, timeout=30) as client:
            register(client)
        stop(started)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM parcels").fetchone() == (5,)
    connection.close()
