"""What is in the wheel and in the sdist, and what they say of themselves."""

import email
import json
import re
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import readme_renderer.markdown

import servey
from pages.blocks import blocks_of
from pages.distribution import Dist, run
from pages.installation import ROOT

VERSION = servey.__version__
ASSETS = "servey/servey_starlette/assets/"
SUFFIXES = {".py", ".typed", ".in", ".md"}
"""What files of our own end in, beside the assets."""


def wheel_files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="module")
def in_wheel(dist: Dist) -> dict[str, bytes]:
    return wheel_files(dist.wheel)


@pytest.fixture(scope="module")
def in_sdist(dist: Dist) -> dict[str, bytes]:
    with tarfile.open(dist.sdist) as opened:
        members = [member for member in opened.getmembers() if member.isfile()]
        files = {member.name: opened.extractfile(member).read() for member in members}
    assert {name.split("/")[0] for name in files} == {f"servey-{VERSION}"}
    return {name.partition("/")[2]: content for name, content in files.items()}


@pytest.fixture(scope="module")
def metadata(in_wheel: dict[str, bytes]) -> Message:
    return email.message_from_bytes(in_wheel[f"servey-{VERSION}.dist-info/METADATA"])


def description_of(metadata: Message) -> str:
    return metadata.get_payload(decode=True).decode()


def test_the_wheel_from_the_sdist_is_the_one_from_the_tree(dist, in_wheel):
    assert wheel_files(dist.tree_wheel) == in_wheel


def test_the_wheel_has_the_package_and_nothing_else(in_wheel):
    source = ROOT / "src"
    ours = {
        path.relative_to(source).as_posix()
        for path in (source / "servey").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    information = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert set(in_wheel) == ours | {f"servey-{VERSION}.dist-info/{name}" for name in information}


def test_the_wheel_has_no_stray_file(in_wheel):
    own = [Path(name) for name in in_wheel if name.startswith("servey/") and not name.startswith(ASSETS)]
    assert [path for path in own if path.suffix not in SUFFIXES] == []
    assert [path for path in own if "test" in path.stem and path.parts[1] not in ("servey_test", "cli")] == []
    assert [path.as_posix() for path in own if any(part.startswith(".") for part in path.parts)] == [
        "servey/.agents/skills/servey/SKILL.md"
    ]
    assert "servey/py.typed" in in_wheel


def test_the_sdist_has_what_a_wheel_is_built_from_and_the_pages_that_the_readme_names(in_sdist):
    tops = {name.split("/")[0] for name in in_sdist}
    assert tops == {
        *("src", "web", "docs", "examples", "hatch_build.py", "pyproject.toml", "PKG-INFO", ".gitignore"),
        *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"),
    }
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} <= set(in_sdist)
    assert "examples/tour/README.md" in in_sdist
    stray = re.compile(r"(^|/)(__pycache__|node_modules|\.venv|\.git|.*\.pyc|.*\.sqlite3?)(/|$)")
    assert [name for name in in_sdist if stray.search(name)] == []


@pytest.mark.parametrize("where", ["wheel", "sdist"])
def test_the_assets_of_the_browser_pages_are_there_with_their_licences(where, in_wheel, in_sdist):
    prefix = "" if where == "wheel" else "src/"
    files = in_wheel if where == "wheel" else in_sdist
    assets = {name.removeprefix(prefix + ASSETS): content for name, content in files.items() if ASSETS in name}
    assert {"manifest.json", "docs.html", "swagger-ui-bundle.js", "swagger-ui.css", "graphiql/page.js"} <= set(assets)
    assert b"Apache License" in assets["licenses/swagger-ui-dist/LICENSE"]
    assert "swagger-ui-dist" in json.dumps(json.loads(assets["manifest.json"]))


def test_the_wheel_says_what_it_is(metadata):
    single = ("Name", "Version", "Requires-Python", "License-Expression", "License-File", "Description-Content-Type")
    assert {name: metadata[name] for name in single} == {
        "Name": "servey",
        "Version": VERSION,
        "Requires-Python": ">=3.11",
        "License-Expression": "MIT AND Apache-2.0 AND BSD-2-Clause AND 0BSD",
        "License-File": "LICENSE",
        "Description-Content-Type": "text/markdown",
    }
    assert 20 < len(metadata["Summary"]) < 200
    assert set(metadata.get_all("Provides-Extra", [])) == {
        *("server", "redis", "celery", "scheduler", "pydantic", "marshy", "all")
    }
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(metadata.get_all("Classifier", []))
    bare = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"\W", line)[0] for line in bare} == {"click", "cronsim", "docstring", "msgspec", "pyjwt"}


def test_both_have_the_same_metadata(in_wheel, in_sdist):
    assert in_sdist["PKG-INFO"] == in_wheel[f"servey-{VERSION}.dist-info/METADATA"]


def test_pypi_would_take_them(dist):
    run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", dist.sdist, dist.wheel, cwd=ROOT)


def test_every_link_of_the_description_leads_somewhere_on_pypi(metadata):
    """A relative one would lead to a page of pypi.org. (A heading's link to itself is made by the renderer.)"""
    rendered = readme_renderer.markdown.render(description_of(metadata))
    assert rendered is not None
    links = re.findall(r'(?:href|src)="([^"]*)"', rendered)
    assert links
    assert [
        link for link in links if not link.startswith(("https://", "http://localhost:8000/", "#user-content-"))
    ] == []


def test_the_description_is_the_readme_but_for_those_links(metadata):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    description = description_of(metadata)
    assert [block.text for block in blocks_of(description)] == [block.text for block in blocks_of(readme)]
    assert re.findall(r"(?m)^#+ .*", description) == re.findall(r"(?m)^#+ .*", readme)
    assert "](docs/" in readme
