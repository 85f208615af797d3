"""The development server: what becomes of edits, good and bad, and of what dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import BOUND, ServerProcess, until

GREET = """
from servey import WEB_GET
from servey.action.action import action


@action(triggers=(WEB_GET,))
async def greet() -> str:
    return "first"
"""

SLOW = """
import sys
import time

from servey import WEB_GET
from servey.action.action import action


@action(triggers=(WEB_GET,))
def sleep() -> None:
    print("it sleeps", file=sys.stderr, flush=True)
    time.sleep(1000)


@action(triggers=(WEB_GET,))
def end() -> None:
    import os

    os._exit(3)
"""

POOL = """
from collections.abc import Iterator

from servey import WEB_GET, resource
from servey.action.action import action


class Pool: ...


@resource(scope="service")
def pool() -> Iterator[Pool]:
    yield Pool()


@action(triggers=(WEB_GET,))
def greet(pool: Pool) -> str:
    return "first"
"""

NO_LOGS = {"LOG_LEVEL": "WARNING"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


def get(port: int, path: str = "/actions/greet", **headers: str) -> Answer:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=BOUND) as response:
            return Answer(response.status, dict(response.headers.items()), response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers.items()), error.read().decode())


def save(path: Path, text: str) -> None:
    """Replace a file as an editor does: a new one, moved to where the old one was."""
    aside = path.with_name(f"{path.name}.tmp")
    aside.write_text(text)
    aside.replace(path)


def test_five_edits_two_of_them_broken_are_each_seen(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start(GREET)
    port, actions = server.port, tmp_path / "actions.py"
    assert get(port).body == '"first"'
    first = server.children()

    save(actions, GREET.replace("first", "second"))
    server.wait_for("reloaded in", count=1)
    assert get(port).body == '"second"'

    save(actions, GREET + "\ndef broken(:\n")
    server.wait_for("SyntaxError")
    answer = get(port)
    assert answer.status == 500
    problem = json.loads(answer.body)
    assert problem["code"] == "internal_error"
    assert "actions.py" in problem["detail"]
    assert "SyntaxError" in problem["detail"]

    save(actions, GREET.replace("first", "fourth"))
    server.wait_for("reloaded in", count=2)
    assert get(port).body == '"fourth"'

    save(actions, GREET + "\n\n@action\ndef wrong(x) -> int:\n    return x\n")
    server.wait_for("the parameter 'x' of wrong has no annotation")
    assert "fix: annotate it" in json.loads(get(port).body)["detail"]

    save(actions, GREET.replace("first", "fifth") + "\n\n@action\ndef more() -> None: ...\n")
    line = server.wait_for("reloaded in", count=3)
    assert "2 actions; new: more" in line
    assert get(port).body == '"fifth"'
    assert not set(first) & set(server.children())
    server.signal(signal.SIGINT)
    assert server.wait() == 130
    assert not any("Traceback" in line for line in server.lines)


def test_a_request_during_the_reload_waits_for_the_new_code(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    slow = GREET.replace("first", "second") + "\nprint('importing', flush=True)\nimport time\ntime.sleep(0.7)\n"
    server = start(GREET)
    port = server.port
    answers: list[str] = []
    asked: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(get(port).body)
            asked.append(0)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    until(lambda: len(answers) > 10, "answers of the old code")
    save(tmp_path / "actions.py", slow)
    until(lambda: '"second"' in answers, "an answer of the new code")
    stop.set()
    for thread in asking:
        thread.join(BOUND)
    assert set(answers) == {'"first"', '"second"'}  # `get` raises for what is refused or has no answer


def test_an_error_at_the_first_start_is_shown_and_can_be_mended(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = start("import nowhere\n")
    port = server.port
    assert "No module named 'nowhere'" in json.loads(get(port).body)["detail"]
    assert any("ModuleNotFoundError" in line for line in server.lines)
    assert not any("servey/finder" in line for line in server.lines)  # the user's own traceback
    save(tmp_path / "actions.py", GREET)
    server.wait_for("development: 1 action")
    assert get(port).body == '"first"'


def test_without_reloading_an_error_ends_the_program_as_ever(start: Callable[..., ServerProcess]) -> None:
    server = start("import nowhere\n", "--no-reload")
    assert server.wait() == 78


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (
            POOL.replace("    yield", "    raise OSError('no database')\n    yield"),
            "the resource 'pool' cannot be opened",
        ),
        ("import sys\nsys.exit('set DB_URL first')\n", "set DB_URL first"),
        (GREET + "\nraise ValueError('<b>&')\n", "ValueError: &lt;b&gt;&amp;"),
        (GREET.replace("WEB_GET,", "WEB_GET, 5"), "no loaded plugin serves int"),
    ],
    ids=["resource", "exit", "raised", "definition"],
)
def test_a_browser_is_shown_the_error_on_every_path_and_recovers(
    start: Callable[..., ServerProcess], tmp_path: Path, source: str, shown: str
) -> None:
    server = start(source)
    port = server.port
    answer = get(port, "/any/where", Accept="text/html,*/*;q=0.8")
    assert answer.status == 500
    assert shown in answer.body.replace("&#x27;", "'")
    assert '<meta http-equiv="refresh"' in answer.body
    assert "<script" not in answer.body
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["retry-after"] == "1"
    assert get(port, "/livez").status == 200
    assert get(port, "/readyz").status == 503
    save(tmp_path / "actions.py", GREET)
    until(lambda: get(port, "/readyz").status == 200, "ready")
    assert get(port).body == '"first"'


def test_an_error_is_not_shown_through_a_tunnel_or_from_elsewhere(start: Callable[..., ServerProcess]) -> None:
    server = start("raise ValueError('swordfish')\n")
    for accept in ("text/html", "application/json"):
        answer = get(server.port, Host="demo.example.com", Accept=accept)
        assert answer.status == 500
        assert "swordfish" not in answer.body
    elsewhere = start("raise ValueError('swordfish')\n", "--reload", "--host", "0.0.0.0", SERVEY_ENV="development")
    port = int(elsewhere.wait_for("Uvicorn running on").rpartition(":")[2].split()[0])
    assert "swordfish" not in get(port).body


def test_files_that_come_and_go_count_directories_too(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start("from lib import words\n" + GREET.replace('"first"', "words.WORD"))
    port = server.port
    server.wait_for("No module named 'lib'")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "words.py").write_text("WORD = 'made'\n")
    until(lambda: get(port).body == '"made"', "the new directory")
    (tmp_path / "lib" / "words.py").write_text("WORD = 'more'\n")  # as long, perhaps within the same second
    until(lambda: get(port).body == '"more"', "the changed file")
    (tmp_path / "lib" / "words.py").unlink()
    until(lambda: get(port).status == 500, "the deleted file")


def test_several_files_saved_at_once_are_one_reload(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start(GREET)
    assert server.port
    for number in range(20):
        (tmp_path / f"part_{number}.py").write_text("")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "installed.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    save(tmp_path / "actions.py", GREET.replace("first", "second"))
    until(lambda: get(server.port).body == '"second"', "the change")
    changes = [line for line in server.lines if " changed" in line]
    assert len(changes) == 1
    assert "18 more" in changes[0]


def test_neither_a_call_under_way_nor_a_kept_connection_holds_the_reload_up(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = start(SLOW, SERVEY_SHUTDOWN_TIMEOUT="1000")  # for which a reload does not wait
    with (
        socket.create_connection(("127.0.0.1", server.port)),
        socket.create_connection(("127.0.0.1", server.port)) as asking,
    ):
        asking.sendall(b"GET /actions/sleep HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.wait_for("it sleeps")
        save(tmp_path / "actions.py", GREET)
        server.wait_for("reloaded in")
        assert asking.recv(12) == b"HTTP/1.1 503"
    assert get(server.port).body == '"first"'


def test_a_process_that_dies_is_replaced(start: Callable[..., ServerProcess]) -> None:
    server = start(SLOW + GREET)
    port = server.port
    with pytest.raises(OSError, match=r"."):
        get(port, "/actions/end")
    server.wait_for("ended with exit code 3")
    assert get(port).body == '"first"'


def test_a_process_that_dies_before_it_serves_is_shown(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start("import os\nos._exit(7)\n")
    port = server.port
    assert "exit code 7" in json.loads(get(port).body)["detail"]
    save(tmp_path / "actions.py", GREET)
    until(lambda: get(port).status == 200, "the mended file")


@pytest.mark.parametrize("words", [("--reload",), ("--workers", "2")], ids=["reload", "workers"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_is_left_when_the_server_ends(
    start: Callable[..., ServerProcess], words: tuple[str, ...], number: int
) -> None:
    server = start(GREET, *words)
    port = server.port
    children = until(lambda: len(found := server.children()) == 2 and found, "two processes")
    server.signal(number)
    server.wait()  # for all that hold standard error, too
    until(lambda: not [pid for pid in children if os.path.exists(f"/proc/{pid}")], "the end of the children")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize(
    "words", [("--reload",), ("--workers", "2"), ("--no-reload",)], ids=["reload", "workers", "one"]
)
def test_one_interrupt_from_a_terminal_ends_all_processes_once(
    start: Callable[..., ServerProcess], words: tuple[str, ...]
) -> None:
    server = start(GREET, *words)
    assert server.port
    os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does
    assert server.wait() == 130
    assert not any("Traceback" in line or "by force" in line for line in server.lines), "".join(server.lines)


def test_code_that_ignores_the_end_outlives_nobody_for_long(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    stubborn = (
        "import pathlib, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path('began').touch()\ntime.sleep(1000)\n"
    )
    server = start(stubborn)
    until((tmp_path / "began").exists, "the import")
    children = server.children()
    assert children
    server.signal(signal.SIGKILL)
    server.wait()
    until(lambda: not [pid for pid in children if os.path.exists(f"/proc/{pid}")], "the end of the children")


def test_a_file_whose_name_is_no_text_is_left_aside(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start(GREET)
    port = server.port
    for name in (b"\xff.txt", b"\xfe.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    server.wait_for("cannot be watched now")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).mkdir()
    save(tmp_path / "actions.py", GREET.replace("first", "second"))
    until(lambda: get(port).body == '"second"', "the change")
    assert len([line for line in server.lines if "cannot be watched now" in line]) == 1


@pytest.mark.parametrize("how", ["deleted and made anew", "moved away and back"])
def test_the_working_directory_may_go_and_come_back(
    start: Callable[..., ServerProcess], tmp_path: Path, how: str
) -> None:
    server = start(GREET)
    port = server.port
    until(lambda: len(server.children()) == 2, "one that stands by")
    aside = tmp_path.with_name(f"{tmp_path.name}-aside")
    tmp_path.rename(aside)
    server.wait_for("cannot be watched now")
    if how == "moved away and back":
        aside.rename(tmp_path)
    else:
        shutil.rmtree(aside)
        tmp_path.mkdir()
    until(lambda: get(port).status == 200, "an answer")
    for word in ("second", "third"):
        save(tmp_path / "actions.py", GREET.replace("first", word))
        until(lambda word=word: get(port).body == f'"{word}"', word)
    server.signal(signal.SIGINT)
    assert server.wait() == 130
    assert not any("defect" in line for line in server.lines), "".join(server.lines)


def test_a_page_of_an_error_that_refreshes_itself_is_not_logged(start: Callable[..., ServerProcess]) -> None:
    server = start("raise ValueError\n")
    for _ in range(3):
        assert get(server.port, Accept="text/html").status == 500
    server.signal(signal.SIGINT)
    assert server.wait() == 130
    assert server.log() == []
    assert any("your modules cannot be loaded" in line for line in server.lines)


def test_what_has_come_or_changed_is_told_as_at_the_start(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start(GREET)
    assert server.port
    more = "\n\nfrom servey import WEB_POST, ScopeAccessControl\n"
    more += "from servey.cache_control.ttl_cache_control import TtlCacheControl\n"
    more += (
        "\n\n@action(triggers=(WEB_POST,), access_control=ScopeAccessControl('root'), cache_control=TtlCacheControl(1))"
    )
    save(tmp_path / "actions.py", f"{GREET}{more}\ndef secret() -> None: ...\n")
    assert "new: secret" in server.wait_for("reloaded in")
    server.wait_for(f"POST   http://localhost:{server.port}/actions/secret  (scope root)")
    server.wait_for("POST /actions/secret may be answered without a call")
    save(
        tmp_path / "actions.py", GREET.replace("triggers=(WEB_GET,)", "triggers=(WEB_GET,), deprecated=True, timeout=1")
    )
    server.wait_for("gone: secret")
