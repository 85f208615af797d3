"""The program in a process of its own: the documented commands, streams, terminals, signals, completion.

Where starting Python is no part of what is tested, the process is one of `support.warm_python`.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

BIN = Path(sys.executable).parent

SAY_HELLO = '''
from servey.action.action import action
from servey.trigger.web_trigger import WEB_GET


@action(triggers=(WEB_GET,))
def say_hello(name: str) -> str:
    """ Greet a user! """
    return f"Hello {name}!"
'''
"""The first actions.py of the README."""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


WAIT = 60
"""Seconds after which a process that should have said something has failed."""

LONG = """
import asyncio, time
from collections.abc import AsyncGenerator
from servey.action.action import action
from servey.action.resource import resource


class Pool: ...


@resource
async def pool() -> AsyncGenerator[Pool]:
    try:
        yield Pool()
    finally:
        print("closed", flush=True)


@action
async def forever(pool: Pool) -> str:
    print("started", flush=True)
    await asyncio.Event().wait()
    return ""


@action
def stuck() -> str:
    print("started", flush=True)
    time.sleep(1000)
    return ""
"""


@pytest.fixture
def project(tmp_path) -> Callable[..., Outcome]:
    """Write an actions.py and run a command line of bash beside it."""
    return partial(run_beside, tmp_path, BIN)


@pytest.fixture
def warm_project(tmp_path, warm_python) -> Callable[..., Outcome]:
    """Do the same without starting Python."""
    return partial(run_beside, tmp_path, warm_python.bin)


def run_beside(
    directory: Path,
    programs: Path,
    command: str,
    actions: str | None = SAY_HELLO,
    input: str | None = None,
    **variables: str,
) -> Outcome:
    if actions is not None:
        (directory / "actions.py").write_text(actions, encoding="utf-8")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environment(programs, **variables),
        input=input,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def environment(programs: Path = BIN, **variables: str) -> dict[str, str]:
    """The environment of a user who has servey installed, and nothing set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SERVEY_", "PYTEST_", "COV_"))}
    for name in ("NO_COLOR", "PYTHONUNBUFFERED", "PYTHONPATH"):
        kept.pop(name, None)
    return {**kept, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **variables}


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("servey call say_hello --name=World >&-", 74, "cannot write to standard output: it is closed"),
        ("servey list >&-", 74, "cannot write to standard output: it is closed"),
        ("servey call say_hello --name=World >/dev/full", 74, "cannot write to standard output: No space left"),
        ("servey list >/dev/full", 74, "cannot write to standard output: No space left"),
        ("servey call say_hello --event=- <&-", 66, "cannot read standard input: it is closed"),
    ],
)
def test_a_stream_that_cannot_be_used_is_told_and_is_no_defect(project, command, code, told):
    done = project(command)
    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert "Traceback" not in done.err


# --- the README ------------------------------------------------------------------------------------------------------


def test_the_command_of_the_spec_word_for_word(project):
    done = project(r"""python -m servey --run=action --action=say_hello "--event={\"name\": \"World\"}" """)
    assert done == (0, '"Hello World!"\n', "")


def test_run_config(project):
    done = project("python -m servey --run=config", actions=None, SERVER_PORT="9001")
    assert done.code == 0
    assert re.search(r"^SERVER_PORT +9001 +SERVER_PORT ", done.out, re.MULTILINE)


def test_the_console_script_finds_the_working_directorys_modules(project):
    assert project("servey call say_hello --name World") == (0, '"Hello World!"\n', "")


def test_an_isolated_python_does_not_look_there(project):
    done = project("python -P -m servey call say_hello --name World")
    assert done.code == 78


# --- the user's modules -------------------------------------------------------------------------------------------


def test_an_empty_directory_is_told_what_to_create(warm_project):
    done = warm_project("servey list", actions=None)
    assert (done.code, done.out) == (78, "")
    assert "actions.py" in done.err
    assert SAY_HELLO.strip() in "\n".join(line[2:] for line in done.err.splitlines())
    assert "Traceback" not in done.err


def test_an_error_in_the_users_module_is_shown_from_its_own_line_on(warm_project):
    done = warm_project("servey call say_hello", "import nothing_of_this_name\n")
    assert (done.code, done.out) == (78, "")
    assert 'actions.py", line 1' in done.err
    assert "ModuleNotFoundError" in done.err
    assert "finder" not in done.err
    assert "importlib" not in done.err


def test_a_syntax_error_is_shown_as_python_does(warm_project):
    done = warm_project("servey list", "def f(:\n")
    assert done.code == 78
    assert 'actions.py", line 1' in done.err
    assert "SyntaxError" in done.err
    assert "finder" not in done.err


def test_a_wrong_declaration_is_told_with_its_line_and_no_traceback(warm_project):
    done = warm_project("servey list", "from servey.action.action import action\n@action\ndef f(a) -> str: ...\n")
    assert done.code == 78
    assert "actions.py:2" in done.err
    assert "fix:" in done.err
    assert "Traceback" not in done.err


def test_what_the_modules_print_is_no_part_of_the_result(warm_project):
    done = warm_project("servey call say_hello --name World", 'print("noise")\n' + SAY_HELLO)
    assert done == (0, '"Hello World!"\n', "noise\n")


# --- streams ------------------------------------------------------------------------------------------------------


def test_an_event_comes_from_standard_input(project):
    done = project("servey call say_hello --event -", input='{"name": "Zoë"}')
    assert done == (0, '"Hello Zoë!"\n', "")


def test_a_result_is_utf8_whatever_the_locale(project):
    done = project("servey call say_hello --name Zoë", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.code, done.out) == (0, '"Hello Zoë!"\n')


def test_a_reader_that_stops_reading_is_no_error(project):
    actions = SAY_HELLO + "".join(f"\n@action\ndef a{n}() -> str:\n    return ''\n" for n in range(5))
    actions += '\n@action\ndef much() -> str:\n    return "x" * 1_000_000\n'
    for command in ("servey list", "servey call much", "servey --help", "servey call --help"):
        done = project(f"set -o pipefail; {command} | true", actions)
        assert (done.code in (0, 1, 141), done.err) == (True, "")
    for unbuffered in ("", "1"):
        done = project("set -o pipefail; servey call much | head -c 1", actions, PYTHONUNBUFFERED=unbuffered)
        assert (done.code, done.err) == (141, "")


def test_logs_are_json_lines_where_no_terminal_is(project):
    done = project("servey call crash", SAY_HELLO + "\n@action\ndef crash() -> None:\n    raise RuntimeError('x')\n")
    assert (done.code, done.out) == (70, "")
    line, *told = done.err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"], record["action"]) == ("ERROR", "servey.operation", "crash")
    assert "RuntimeError: x" in record["exception"]
    assert record["request_id"] in told[0]


# --- terminals ----------------------------------------------------------------------------------------------------


@pytest.fixture
def on_terminal(wide, warm_python) -> Callable[..., tuple[int, str]]:
    """Run a command with all its streams on a terminal; return its exit code and what it showed."""
    return partial(run_on_terminal, wide, warm_python.bin)


def run_on_terminal(
    directory: Path, programs: Path, command: str, columns: int = 80, **variables: str
) -> tuple[int, str]:
    mine, its = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=directory,
        env=environment(programs, TERM="xterm", COLUMNS=str(columns), **variables),
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = b""
    until = time.monotonic() + WAIT
    while select.select([mine], [], [], max(0, until - time.monotonic()))[0]:
        try:
            part = os.read(mine, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(mine)
    return process.wait(WAIT), shown.decode().replace("\r\n", "\n")


@pytest.fixture
def wide(tmp_path) -> Path:
    words = "many words " * 20
    (tmp_path / "actions.py").write_text(
        SAY_HELLO + f'\n@action\ndef other() -> dict[str, int]:\n    """Say {words}."""\n    return {{"a": 1}}\n',
        encoding="utf-8",
    )
    return tmp_path


def test_a_result_is_indented_on_a_terminal(wide):
    assert run_on_terminal(wide, BIN, "servey call other") == (0, '{\n  "a": 1\n}\n')


def test_a_table_fits_the_terminal(on_terminal):
    code, shown = on_terminal("NO_COLOR=1 servey list", columns=60)
    assert code == 0
    assert max(map(len, shown.splitlines())) < 70  # the last column has a least width
    assert len(shown.splitlines()) > 3
    assert max(map(len, on_terminal("NO_COLOR=1 servey list", columns=80)[1].splitlines())) < 80


def test_a_table_is_whole_when_it_is_piped(warm_project, wide):
    done = warm_project("servey list", actions=None, COLUMNS="60")
    assert len(done.out.splitlines()) == 3
    assert max(map(len, done.out.splitlines())) > 200


def test_colours_are_for_terminals(warm_project, on_terminal):
    every = "servey list; servey call; servey call other --nope"
    assert "\x1b[" in on_terminal("servey list")[1]
    assert "\x1b[" in on_terminal("servey call other --nope", NO_COLOR="")[1]
    assert "\x1b[" not in on_terminal(every, NO_COLOR="1")[1]
    assert "\x1b[" not in on_terminal(every.replace("servey ", "servey --no-color "))[1]
    done = warm_project(every, actions=None)
    assert "\x1b[" not in done.out + done.err


def test_logs_are_for_people_on_a_terminal(wide, on_terminal):
    (wide / "actions.py").write_text(
        SAY_HELLO.replace('return f"Hello {name}!"', "raise RuntimeError(name)"), encoding="utf-8"
    )
    code, shown = on_terminal("servey call say_hello --name x")
    assert code == 70
    assert shown.startswith("ERROR servey.operation: say_hello")
    assert "Traceback (most recent call last):\n" in shown


# --- signals ------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path):
    """Start a call and wait until its action runs."""
    # a shell ignores Ctrl-C for what it runs in the background, and so would every process below it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    processes: list[subprocess.Popen[str]] = []

    def started(action: str, **variables: str) -> subprocess.Popen[str]:
        (tmp_path / "actions.py").write_text(LONG, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "servey", "call", action],
            cwd=tmp_path,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stderr is not None
        assert process.stderr.readline() == "started\n"
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_call_and_closes_what_it_opened(started, number, code):
    process = started("forever")
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out) == (code, "")
    assert "closed\n" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_action_that_cannot_be_stopped_gets_the_shutdown_timeout(started, number, code):
    process = started("stuck", SERVEY_SHUTDOWN_TIMEOUT="0.2")
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_another_signal_ends_it_at_once(started, number, code):
    process = started("stuck", SERVEY_SHUTDOWN_TIMEOUT="1000")
    process.send_signal(number)
    assert process.stderr is not None
    assert "stuck was cancelled" in process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err


# --- completion ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    """The completion script of bash, in a file."""
    path = tmp_path_factory.mktemp("completion") / "servey.bash"
    path.write_bytes(subprocess.check_output(["servey", "completion", "bash"], env=environment(), timeout=WAIT))
    return path


@pytest.fixture
def completed(warm_project, script) -> Callable[..., list[str]]:
    """What bash offers at the end of a line, by the script that servey prints."""

    def completed(line: str, actions: str | None = SAY_HELLO) -> list[str]:
        done = warm_project(
            f"""
            source {script}
            COMP_WORDS=({line}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
            _servey_completion servey
            printf '%s\\n' "${{COMPREPLY[@]}}"
            """,
            actions,
        )
        assert done.code == 0
        assert not [text for text in done.err.splitlines() if "compopt" not in text]
        return done.out.split()

    return completed


def test_bash_completes_commands_actions_flags_and_choices(completed):
    actions = (
        SAY_HELLO
        + "from typing import Literal\nprint('noise')\n"
        + "@action\ndef paint(color: Literal['red', 'green']) -> str:\n    return color\n"
    )
    assert completed("servey c", actions) == ["call", "calls", "config", "completion"]
    assert completed("servey call say", actions) == ["say_hello"]
    assert completed("servey call say_hello --n", actions) == ["--name"]
    assert completed("servey call paint --color gr", actions) == ["green"]
    assert completed("servey completion z", actions) == ["zsh"]


@pytest.mark.parametrize("actions", [None, "import nothing\n", "raise SystemExit(3)\n", "def f(:\n"])
def test_nothing_is_completed_quietly_when_the_module_fails(completed, actions):
    assert completed("servey call say", actions) == []
    assert completed("servey call say_hello --n", actions) == []
    assert "list" in completed("servey ''", actions)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(project, shell):
    done = project(f"servey completion {shell}", actions=None)
    assert (done.code, done.err) == (0, "")
    assert "_SERVEY_COMPLETE" in done.out


# --- start-up -----------------------------------------------------------------------------------------------------


def test_a_call_imports_nothing_that_it_does_not_need(project):
    code = (
        "import sys; from servey.cli.main import run; run(['call', 'say_hello', '--name', 'x']); "
        "print(sorted({'starlette', 'uvicorn', 'docstring_parser', 'jwt', 'pydantic', 'cronsim', 'marshy'}"
        " & sys.modules.keys()))"
    )
    assert project(f'python -c "{code}"').out == '"Hello x!"\n[]\n'
