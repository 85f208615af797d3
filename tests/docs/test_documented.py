"""What exists is documented, and what is documented is linked."""

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from servey import errors
from servey.action.action import action
from servey.plugin import Plugin
from servey.schema.graphql.errors import GRAPHQL_ERRORS
from servey.servey_starlette.app import StarletteExtension
from servey.servey_starlette.docs import DocsExtension
from servey.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), ROOT / "examples" / "tour" / "README.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def first_cells(page: str) -> set[str]:
    """The code in the first cells of a page's tables."""
    return set(re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\|([^|]*)\|", page, re.M))))


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


def broken_links(page: Path) -> list[str]:
    broken: list[str] = []
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    return broken


def test_every_setting_is_documented_as_in_the_code():
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    expected: list[str] = []
    settings = Settings()
    for variable, row in zip(settings.variables().values(), settings.table({}), strict=True):
        also = f". Also {', '.join(f'`{name}`' for name in variable.aliases)}" if variable.aliases else ""
        default = f"`{row.value}`" if row.value else "unset"
        expected.append(f"| `{row.variable}` | {row.doc.removesuffix('.')}{also} | {default} |")
    assert len(expected) > 50
    assert re.findall(r"^\| `[A-Z_]+` \|.*$", page, re.M) == expected


def test_every_extra_is_documented():
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert {f"servey[{extra}]" for extra in PROJECT["optional-dependencies"]} - first_cells(page) == set()


def test_every_call_error_is_documented_as_it_is():
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| \[`(\w+)`\]\(#\1\) \| (\d+) \| (\d+) \| `(\w+)` \| \S", page, re.M))
    classes = [errors.CallError, *errors.CALL_ERRORS, *GRAPHQL_ERRORS]
    assert rows == {(item.code, str(item.status), str(item.exit_code), item.__name__) for item in classes}


def test_every_other_error_is_documented():
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    for item in vars(errors).values():
        if inspect.isclass(item) and issubclass(item, errors.ServeyError):
            assert f"`{item.__name__}`" in page.replace(f"servey.errors.{item.__name__}", item.__name__)


def test_every_argument_of_the_decorator_is_documented():
    page = (DOCS / "actions.md").read_text(encoding="utf-8")
    assert set(inspect.signature(action).parameters) - {"fn"} - first_cells(page) == set()


def test_every_extension_point_is_documented():
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    points = {
        name for cls in (Plugin, StarletteExtension, DocsExtension) for name in vars(cls) if not name.startswith("_")
    }
    assert points - {cell.partition("(")[0] for cell in first_cells(page)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page):
    assert broken_links(page) == []


def test_the_list_of_decisions_leads_to_each():
    decisions = DOCS / "decisions.md"
    assert {(DOCS / link).resolve() for link in links(decisions)} >= {*(DOCS / "decisions").glob("*.md")}


def test_the_readme_leads_to_the_index_and_that_to_every_page():
    index = DOCS / "index.md"
    assert index in {(ROOT / link).resolve() for link in links(README)}
    linked = {(DOCS / link).resolve() for link in links(index)}
    assert {*DOCS.glob("*.md"), README, ROOT / "CHANGELOG.md"} - {index} - linked == set()


def test_the_figures_of_the_comparison_are_those_of_the_benchmarks():
    comparison, benchmarks = [(DOCS / page).read_text(encoding="utf-8") for page in ("comparison.md", "benchmarks.md")]
    figures = comparison[comparison.index("## Figures") : comparison.index("## When not")]
    quoted = set(re.findall(r"\b\d+\.\d+\b", figures))
    assert len(quoted) > 10
    assert quoted - set(re.findall(r"\b\d+\.\d+\b", benchmarks)) == set(), "take them from docs/benchmarks.md anew"


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title, so\n[a](#a-title-so) [b](#b) [c](page.md#a-title-so) [d](d.md)", encoding="utf-8")
    assert broken_links(page) == ["#b", "d.md"]


def test_the_make_targets_that_the_readme_names_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"`make ([\w-]+)`", README.read_text(encoding="utf-8")))
    assert named
    assert named <= targets
