"""An interpreter that has imported servey, and forks for each program that is run.

Starting Python and importing servey takes half a second of the processor, and the documentation alone has 230 commands.
`WarmPython` makes programs `python`, `servey` and `uvicorn`, for shells and for `subprocess`. Each run of one is a
process of its own, with its arguments, environment, working directory, streams, signals and exit code. It differs from
a real start in that modules of servey and of what it uses are imported already. What this cannot do as the real
interpreter does (other options, other variables of Python, closed streams) is done by the real one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import marshal
import multiprocessing.process
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import traceback
import types
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
"""Where the real programs are."""

TESTS = Path(__file__).parents[1]

MODULES = (
    "servey.cli.main",
    "servey.cli.output",
    "servey.finder.module_finder",
    "servey.schema.openapi",
    "servey.servey_starlette.app",
    "servey.servey_strawberry.schema",
    "servey.servey_test.example_run",
    "servey.servey_test.client",
    "servey.servey_uvicorn.server",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.main",
    "uvicorn.protocols.http.auto",
    "httpx",
    "jwt",
    "pydantic",
)
"""What is imported before a program is run; none of them does anything at its import but define."""

ENTRIES = {"servey": "servey.cli.main", "uvicorn": "uvicorn.main"}
"""The modules of the other programs, whose function is `main`."""

CLIENT = """#!{python} -IS
import _signal, _socket, marshal, posix, sys

PROGRAM, KNOWN = {program!r}, {{"PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "PYTHONPATH"}}
words, environment = sys.argv[1:], {{name.decode(): value.decode() for name, value in posix.environ.items()}}


def start_the_real_one():
    posix.execve({real!r}, [{real!r}, *words], posix.environ)


if any(name.startswith("PYTHON") and value and name not in KNOWN for name, value in environment.items()):
    start_the_real_one()
options = words[:]
while PROGRAM == "python" and options[:1] == ["-W"]:
    del options[:2]
if options[:2] == ["-m", "pytest"]:  # it rewrites modules, which have to be new to it
    start_the_real_one()
if PROGRAM == "python" and (not options or options[0].startswith("-") and options[0] not in ("-c", "-m")):
    start_the_real_one()
try:
    for descriptor in range(3):
        posix.fstat(descriptor)
except OSError:
    start_the_real_one()
ignores = _signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN
sent = marshal.dumps((PROGRAM, sys.argv[0], words, environment, posix.getcwd(), posix.getpgrp(), ignores))
connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
connection.connect({address!r})
descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
first = connection.sendmsg([sent], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
connection.sendall(sent[first:])
connection.shutdown(_socket.SHUT_WR)
process = int.from_bytes(connection.recv(4), "big")


def forward(number, frame):
    try:
        posix.kill(process, number)
    except ProcessLookupError:
        pass


for number in (_signal.SIGHUP, _signal.SIGTERM, _signal.SIGINT):
    _signal.signal(number, forward)
status = int.from_bytes(connection.recv(4), "big")
if posix.WIFSIGNALED(status):
    _signal.signal(posix.WTERMSIG(status), _signal.SIG_DFL)
    posix.kill(posix.getpid(), posix.WTERMSIG(status))
posix._exit(posix.WEXITSTATUS(status))
"""


class WarmPython:
    """Its process, and the programs; `directory` is an empty one."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        address = str(directory / "socket")
        for program in ("python", *ENTRIES):
            real = str(BIN / program)
            path = self.bin / program
            path.write_text(CLIENT.format(python=sys.executable, program=program, real=real, address=address))
            path.chmod(0o755)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", f"import {__name__} as warm; warm.serve({address!r})()"],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.read(1) == b".", "the interpreter did not start"

    @property
    def python(self) -> Path:
        return self.bin / "python"

    def close(self) -> None:
        """End the process; it ends by itself when this one does."""
        self._process.communicate(timeout=60)


# --- in the process ---------------------------------------------------------------------------------------------------


def serve(address: str) -> Callable[[], object]:
    """Fork for each program; return, in the process of one, what runs it."""
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # collections of the programs leave these pages as they are
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(128)
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: dict[int, socket.socket] = {}
    os.write(1, b".")
    with selectors.DefaultSelector() as selector:
        for watched in (0, woken, listener):
            selector.register(watched, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if 0 in ready:  # the process of the tests has ended
                os._exit(0)
            if woken in ready:
                woken.recv(4096)
                reap(running)
            if listener not in ready:
                continue
            connection, _ = listener.accept()
            request, descriptors = received(connection)
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                for other in (listener, woken, waker, connection, *running.values()):
                    other.close()
                break
            for descriptor in descriptors:
                os.close(descriptor)
            with contextlib.suppress(OSError):
                connection.sendall(pid.to_bytes(4, "big"))
            running[pid] = connection
    return prepared(request, descriptors)


def received(connection: socket.socket) -> tuple[Any, list[int]]:
    sent, descriptors, _, _ = socket.recv_fds(connection, 65536, 3)
    while part := connection.recv(65536):
        sent += part
    return marshal.loads(sent), descriptors


def reap(running: dict[int, socket.socket]) -> None:
    """Tell the clients of processes that have ended how these ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as connection, contextlib.suppress(OSError):
            connection.sendall(status.to_bytes(4, "big"))


def prepared(request: Any, descriptors: list[int]) -> Callable[[], object]:
    """Make this process that of a program; return what runs it."""
    program, path, words, environment, directory, group, interrupts_ignored = request
    with contextlib.suppress(OSError):
        os.setpgid(0, group)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN if interrupts_ignored else signal.default_int_handler)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    multiprocessing.process.ORIGINAL_DIR = directory  # where processes that are spawned begin
    stream = partial(open, encoding="utf-8", closefd=False)
    sys.stdin = sys.__stdin__ = stream(0)
    sys.stdout = sys.__stdout__ = stream(1, "w", buffering=1 if os.isatty(1) else -1)
    sys.stderr = sys.__stderr__ = stream(2, "w", buffering=1, errors="backslashreplace")
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(TESTS))]
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    importlib.invalidate_caches()
    sys.warnoptions[:] = []
    while program == "python" and words[0] == "-W":
        sys.warnoptions.append(words[1])
        words = words[2:]
    with_filters(sys.warnoptions)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__builtins__ = __builtins__  # type: ignore[attr-defined]
    return lambda: run(program, path, words, main)


def with_filters(options: list[str]) -> None:
    """Set the filters of warnings that an interpreter with these options has."""
    warnings.resetwarnings()
    warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category, append=True)
    warnings._processoptions(options)  # type: ignore[attr-defined]


def run(program: str, path: str, words: list[str], main: types.ModuleType) -> None:
    """Run a program as the interpreter does; an exception is shown without the frames of this module."""
    try:
        if program != "python":
            sys.argv = [path, *words]
            sys.path.insert(0, str(BIN))
            sys.exit(importlib.import_module(ENTRIES[program]).main())
        kind, *rest = words
        if kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            sys.path.insert(0, "")
            exec(compile(rest[0], "<string>", "exec"), vars(main))
        elif kind == "-m":
            sys.argv = ["-m", *rest[1:]]
            sys.path.insert(0, os.getcwd())
            runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]
        else:
            sys.argv = words
            sys.path.insert(0, str(Path(kind).resolve().parent))
            vars(main).update(__file__=kind)
            exec(compile(Path(kind).read_bytes(), kind, "exec"), vars(main))
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001
        own = error.__traceback__
        while own is not None and own.tb_frame.f_code.co_filename in (__file__, runpy.__file__):
            own = own.tb_next
        traceback.print_exception(error.with_traceback(own))
        sys.exit(1)
