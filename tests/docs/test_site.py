"""The site builds without a warning, has every page, its links lead somewhere, and it loads nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import sync_playwright

from servey import errors
from support.chromium import chromium

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "tour" / "README.md"]
LOADING = {"script", "img", "iframe", "source", "video", "audio", "embed", "object"}
RELATIONS = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "prefetch", "preconnect", "dns-prefetch"}

# what cannot be scrolled by itself, as tables and blocks can
TOO_WIDE = """() => [...document.querySelectorAll("article :is(p, li, h1, h2, h3, code, .table-wrapper, .highlight)")]
    .filter(it => !it.parentElement.closest(".table-wrapper, .highlight"))
    .filter(it => it.getBoundingClientRect().right > innerWidth)
    .map(it => it.textContent.slice(0, 80))"""


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    recipe = re.search(r"^docs:.*\n\t\$\(RUN\) (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert recipe is not None
    options = recipe[1].replace("build/docs-doctrees", str(out / "doctrees")).replace("build/docs", str(out / "site"))
    return subprocess.run(
        [sys.executable, *options.split()], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )


class Page(HTMLParser):
    """What a page refers to, and where it can be referred to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.captions = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.captions += given.get("class", "") == "code-block-caption"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif (tag == "link" and set(given.get("rel", "").split()) & RELATIONS) or tag in LOADING:
            self.loaded += [given[name] for name in ("href", "src", "srcset", "data") if name in given]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    done = build(ROOT, out)
    assert (done.returncode, done.stderr) == (0, "")
    return out / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {path: Page(path) for path in site.rglob("*.html")}
    assert len(found) > len(SOURCES)
    return found


def built(source: Path) -> Path:
    return source.relative_to(ROOT).with_suffix(".html")


def test_every_page_is_built_and_in_the_navigation(site):
    index = (site / "docs" / "index.html").read_text(encoding="utf-8")
    navigation = index[index.index('class="sidebar-tree"') : index.index('class="main"')]
    shown = {(site / "docs" / link).resolve() for link in re.findall(r'href="([^"#]+)"', navigation)}
    expected = {site / built(source) for source in SOURCES} - {site / "docs" / "index.html"}
    assert expected - shown == set()
    assert [path for path in expected if not path.is_file()] == []


def broken_links(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].ids if target in pages else set()
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in anchors):
                yield f"{path.relative_to(site)}: {link}"


def outside(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for page in pages.values():
        yield from (link for link in page.loaded if urlsplit(link).netloc)
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        yield from re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", text)


def test_links_lead_somewhere(site, pages):
    assert sum(len(page.links) for page in pages.values()) > 500
    assert list(broken_links(site, pages)) == []


def test_nothing_is_loaded_from_elsewhere(site, pages):
    assert sum(len(page.loaded) for page in pages.values()) > 50
    assert list(outside(site, pages)) == []


def test_what_is_broken_or_elsewhere_is_found(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<p id="a"><a href="#a">a</a><a href="#b">b</a><a href="c.html">c</a><script src="//d.example/">')
    (tmp_path / "style.css").write_text("@import 'https://e.example/e.css'; a { background: url(f.png) }")
    pages = {page: Page(page)}
    assert list(broken_links(tmp_path, pages)) == ["page.html: #b", "page.html: c.html"]
    assert list(outside(tmp_path, pages)) == ["//d.example/", "https://e.example/e.css"]


def test_every_code_is_an_anchor_of_the_errors_catalogue(site, pages):
    codes = {
        item.code for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.CallError)
    }
    assert codes - pages[site / "docs" / "errors.html"].ids == set()


def test_a_block_that_is_a_file_has_its_name_above_it(site, pages):
    for source in SOURCES:
        named = len(re.findall(r"^<!-- file: ", source.read_text(encoding="utf-8"), re.M))
        assert pages[site / built(source)].captions == named


def test_llms_txt_lists_every_page_as_markdown(site):
    lines = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", (site / "llms.txt").read_text(encoding="utf-8"), re.M)
    pages = {source.relative_to(ROOT).as_posix() for source in SOURCES} - {"docs/index.md"}
    expected = {page for page in pages if not page.startswith("docs/decisions/")}  # docs/decisions.md lists these
    assert {line.removeprefix("_sources/") for line in lines} == expected
    assert [(site / line).read_text(encoding="utf-8")[:2] for line in lines] == ["# "] * len(lines)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_on_a_phone_no_page_is_too_wide_fails_or_asks_for_anything_elsewhere(site, pages):
    path = chromium()
    with served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
        wrong: list[str] = []
        page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{address}/")
        page.wait_for_url(f"{address}/docs/index.html")
        for path in set(pages) - {site / "index.html"}:
            page.goto(f"{address}/{path.relative_to(site)}")
            wrong += [f"{path.name}: too wide: {text}" for text in page.evaluate(TOO_WIDE)]
        page.goto(f"{address}/search.html?q=unsupported_media_type")
        page.wait_for_selector("#search-results li a[href*='errors']")
        browser.close()
    assert wrong == []


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path):
    root = tmp_path / "root"
    shutil.copytree(ROOT / "docs", root / "docs")
    (root / "src/servey").mkdir(parents=True)
    shutil.copy(ROOT / "src/servey/__init__.py", root / "src/servey")
    shutil.copy(ROOT / "pyproject.toml", root)
    for page in (root / "docs").rglob("*.md"):
        page.unlink()
    (root / "docs/index.md").write_text("# A site\n\n## Part\n\n- [A](a.md): a page\n", encoding="utf-8")
    (root / "docs/a.md").write_text("# A\n\n[back](index.md#part)\n", encoding="utf-8")
    assert build(root, tmp_path / "right").returncode == 0
    (root / "docs/a.md").write_text("# A\n\n[back](index.md#no-such-part)\n", encoding="utf-8")
    done = build(root, tmp_path / "wrong")
    assert done.returncode != 0
    assert "no-such-part" in done.stderr
