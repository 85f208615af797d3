"""A browser that reaches nothing but this machine, and the tour on real servers."""

from __future__ import annotations

import http.client
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from browser.docs_page import VARIABLES
from support.chromium import chromium

TOUR = Path(__file__).parents[2] / "examples" / "tour"
BOUND = 120.0
"""Seconds after which what does not happen is a failure, also on a machine that does ten other things."""

SIZE: Any = {"width": 1280, "height": 900}
"""Of the window, unless a test wants another one."""

CLOSE = "document.querySelectorAll('.opblock.is-open .opblock-summary-control').forEach(element => element.click())"

EXPECTED = (
    "Failed to load resource",  # of every status from 400 on, also of one that "Try it out" shows
    "Deprecated: escaping deep link whitespace",  # Swagger UI of links to operations with an underscore
)
"""How those complaints of a console begin that are none."""


@pytest.fixture(scope="module")  # an event loop runs in this thread meanwhile, and other modules have their own
def browser() -> Iterator[Browser]:
    path = chromium()
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", offline]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        expect.set_options(timeout=BOUND * 1000)  # 5 s of its own, which a busy machine needs for a page
        yield browser
        browser.close()


class Visit:
    """A page of a browser, with all that it asked for and complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context.set_default_timeout(BOUND * 1000)
        context.on("request", lambda request: self.requests.append(request.url))
        context.expose_function("complain", lambda complaint: self.complaints.append(complaint))
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation',"
            " event => complain(`${event.violatedDirective} forbids ${event.blockedURI} ${event.sample}`))"
        )
        self.page: Page = context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            self.complaints.append(message.text)

    @property
    def origins(self) -> set[str]:
        """The origins of all requests."""
        return {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, self.requests)}


@pytest.fixture
def visiting(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Return ``visit(**options of a browser context)``; whatever a page complains of fails the test."""
    with visits_of(browser) as visit:
        yield visit


@contextmanager
def visits_of(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Yield ``visit(**options of a browser context)``; complaints of a page are an error at the end."""
    visits: list[Visit] = []
    contexts: list[BrowserContext] = []

    def visit(**options: Any) -> Visit:
        contexts.append(browser.new_context(**{"viewport": SIZE, **options}))
        visits.append(Visit(contexts[-1]))
        return visits[-1]

    yield visit
    for context in contexts:
        context.close()
    assert [complaint for visit in visits for complaint in visit.complaints] == []


@pytest.fixture(scope="module")
def lasting(browser: Browser) -> Iterator[Visit]:
    """One visit that lasts for the tests of a module: a page takes seconds of the processor to open."""
    with visits_of(browser) as visit:
        yield visit()


@contextmanager
def used(visit: Visit, request: pytest.FixtureRequest, open_page: Callable[[Visit], Page]) -> Iterator[Page]:
    """Yield the page of a lasting visit, in the size and the colors of a new one; open it for the first test.

    It closes the operations that a test has opened. After a test that fails, the page is opened once more.
    """
    failed = request.session.testsfailed
    yield visit.page if visit.requests else open_page(visit)
    complaints, visit.complaints = visit.complaints, []
    visit.page.set_viewport_size(SIZE)
    visit.page.emulate_media(color_scheme="light")
    visit.page.evaluate(CLOSE)
    if request.session.testsfailed > failed:
        visit.requests.clear()
    assert complaints == []


@contextmanager
def serve_tour(
    directory: Path, app: str = "servey.servey_starlette.starlette_app:app", **variables: str
) -> Iterator[str]:
    """Serve the tour with uvicorn in a process of its own; yield its address."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    store = {"SERVEY_STORE": str(directory / "store.db")}
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", app, "--port", "0", "--app-dir", str(Path(__file__).parent)],
        cwd=TOUR,
        env={**kept, "PYTHONPATH": str(TOUR), "TMPDIR": str(directory), "NO_COLOR": "1", **store, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    found: queue.Queue[str] = queue.Queue()

    assert process.stdout is not None

    def read() -> None:
        for line in process.stdout:
            lines.append(line)
            if (address := re.search(r"running on (http://[\w.]+:\d+)", line)) is not None:
                found.put(address[1])
        found.put("")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        address = found.get(timeout=BOUND)
        assert address, "".join(lines)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(BOUND)
        finally:
            process.kill()
            reader.join(BOUND)
            process.stdout.close()


@contextmanager
def proxy(target: str, prefix: str) -> Iterator[str]:
    """Serve `target` below a prefix that is taken away, and of which the target is told nothing."""
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404, "the proxy has nothing here")
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            with closing(http.client.HTTPConnection(host, timeout=BOUND)) as connection:
                connection.request(self.command, self.path.removeprefix(prefix), body, headers)
                response = connection.getresponse()
                content = response.read()
            self.send_response_only(response.status, response.reason)
            for name, value in response.getheaders():
                self.send_header(name, value)
            with suppress(ConnectionError):  # a browser that has left the page does not wait for the rest of it
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(BOUND)


@pytest.fixture
def tour(tmp_path: Path) -> Callable[..., AbstractContextManager[str]]:
    """Return ``tour(**variables)``: a context manager that serves the tour, and yields its address."""
    return partial(serve_tour, tmp_path)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tour at the root of its server."""
    with serve_tour(tmp_path_factory.mktemp("plain"), SERVEY_API_TITLE="Parcels & more") as address:
        yield address


@pytest.fixture(scope="session")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tour mounted at /api in another application."""
    with serve_tour(tmp_path_factory.mktemp("mounted"), "mounted:app") as address:
        yield f"{address}/api"


@pytest.fixture(scope="session")
def proxied(plain: str) -> Iterator[str]:
    """The tour behind a proxy that takes a prefix away."""
    with proxy(plain, "/behind/a") as address:
        yield address


@pytest.fixture(scope="module", params=["plain", "mounted", "proxied"])
def address(request: pytest.FixtureRequest) -> str:
    """Where the tour is served, in three ways, for what depends on the address; the rest is tested at `plain`."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def guarded_plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Guarded actions, with the login for development, at the root of their server."""
    with serve_tour(tmp_path_factory.mktemp("guarded"), "guarded:app", **VARIABLES) as address:
        yield address


@pytest.fixture(scope="session")
def guarded_mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same mounted at /api in another application."""
    with serve_tour(tmp_path_factory.mktemp("guarded_mounted"), "guarded:mounted", **VARIABLES) as address:
        yield f"{address}/api"


@pytest.fixture(scope="session")
def guarded_proxied(guarded_plain: str) -> Iterator[str]:
    """The same behind a proxy that takes a prefix away."""
    with proxy(guarded_plain, "/behind/a") as address:
        yield address


@pytest.fixture(params=["guarded_plain", "guarded_mounted", "guarded_proxied"])
def guarded(request: pytest.FixtureRequest) -> str:
    """Where the guarded actions are served, in three ways."""
    return request.getfixturevalue(request.param)
