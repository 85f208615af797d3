"""Where somebody logs in, and with what password, is told when the server starts."""

import re
import subprocess
import sys

import pytest

from servey import Authorization
from servey.plugin import Plugin
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.servey_uvicorn.banner import banner
from servey.service import Service
from servey.settings import Settings


class Users(Plugin):
    def authenticators(self):
        return (self,)

    def authenticate(self, username, password):
        return Authorization(username)


def told(*plugins, **settings):
    service = Service(plugins=plugins, settings=Settings(**settings))
    paths = {getattr(route, "path", "") for route in create_app(service).routes}
    return [line for line in banner(service, 8000, paths) if "/login" in line], service


def test_a_password_that_was_made_up_is_told():
    (line,), service = told()
    password = service.settings.login.debug_authenticator_password
    assert len(password) >= 16
    assert line == f"  POST   http://localhost:8000/login  log in as root, with the password {password}"
    assert told()[1].settings.login.debug_authenticator_password != password


def test_a_password_of_the_settings_is_not_told():
    (line,), _ = told(debug_authenticator_password="swordfish", debug_authenticator_username="me")
    assert "log in as me" in line
    assert "swordfish" not in line


def test_with_users_of_ones_own_there_is_no_password_to_tell():
    (line,), service = told(Users())
    assert line == "  POST   http://localhost:8000/login  log in for a token"
    assert service.settings.login.debug_authenticator_password not in line


@pytest.mark.parametrize("settings", [{"debug_authenticator": False}, {"environment": "production"}])
def test_where_there_is_no_login_there_is_no_line(settings):
    assert told(**settings)[0] == []


def started(tmp_path, code, **variables):
    (tmp_path / "actions.py").write_text("")
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize(("variables", "lines"), [({}, 1), ({"SERVEY_ENV": "production"}, 0)])
def test_another_server_than_ours_tells_it_too(tmp_path, variables, lines):
    code = (
        "import servey.servey_starlette.starlette_app as m\n"
        "print(m.app.service.settings.login.debug_authenticator_password)"
    )
    done = started(tmp_path, code, **variables)
    found = re.findall(r"POST /login: log in as root, with the password (\S+)", done.stderr)
    assert found == [done.stdout.strip()] * lines


IMPORT = "import servey.servey_starlette.starlette_app"
IN_A_CHILD = """
import importlib, multiprocessing
child = multiprocessing.get_context("spawn").Process(
    target=importlib.import_module, args=("servey.servey_starlette.starlette_app",)
)
child.start()
child.join(30)
assert child.exitcode == 0
"""


@pytest.mark.parametrize(
    ("code", "variables", "is_told"),
    [
        (IMPORT, {}, False),
        (IMPORT, {"WEB_CONCURRENCY": "2"}, True),
        (IN_A_CHILD, {}, True),
        (IN_A_CHILD, {"SERVEY_ENV": "production"}, False),
        (IN_A_CHILD, {"JWT_SECRET_KEY": "k" * 32, "SERVEY_DEBUG_AUTHENTICATOR_PASSWORD": "swordfish"}, False),
    ],
)
def test_a_worker_of_another_server_tells_that_it_has_a_secret_of_its_own(tmp_path, code, variables, is_told):
    done = started(tmp_path, code, **variables)
    told = "JWT_SECRET_KEY and SERVEY_DEBUG_AUTHENTICATOR_PASSWORD were made up by this process"
    assert (told in done.stderr) is is_told
    assert ("made up" in done.stderr) is is_told


async def test_an_application_to_be_mounted_tells_the_password_once_to_whoever_asks_for_it(caplog):
    service = Service([])
    async with client_of(create_app(service)) as client:
        assert caplog.text == ""
        for _ in range(2):
            assert (await client.request("POST", "/login")).status == 400
    assert caplog.text.count(service.settings.login.debug_authenticator_password) == 1
    caplog.clear()
    async with client_of(create_app(Service([], settings=Settings().with_generated_secrets()))) as client:
        assert (await client.request("POST", "/login")).status == 400
    assert caplog.text == ""  # the server has told it
