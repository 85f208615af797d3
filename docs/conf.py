"""The documentation as a site: `make docs` builds it into build/docs.

The source directory is the project's root, so that the pages of docs, the README and the changelog link to each other
by the same relative paths here and where the repository is browsed. `docs/index.md` is the list of all pages: its
headings and links make the navigation, and its lines make ``llms.txt``.
"""

import posixpath
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pygments.lexer import Lexer
from pygments.lexers.shell import BashLexer
from pygments.token import Generic, _TokenType
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "src/servey/__init__.py").read_text(encoding="utf-8"))

project = "servey"
author = "the authors of servey"
version = release = VERSION[1] if VERSION else ""
project_copyright = f"{author}. MIT license"

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/decisions/*.md", "examples/tour/README.md"]
exclude_patterns = ["build", "dist", ".*", "src", "tests", "web", "benchmarks", "docs/_static"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # an ellipsis stands for what is left out, in JSON as well

myst_heading_anchors = 4  # the anchors of a code host, as in errors.html#not_found

html_theme = "furo"
html_title = f"servey {release}"
html_static_path = ["_static"]
html_css_files = ["servey.css"]
html_favicon = "_static/favicon.svg"
pygments_dark_style = "github-dark"
html_copy_source = True  # llms.txt leads to the Markdown
html_sourcelink_suffix = ""
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = False
html_theme_options = {"navigation_with_keys": True}

PARTS = re.compile(r"^## (?P<part>.+)$|^- \[(?P<title>[^\]]+)\]\((?P<page>[^)]+)\.md\): (?P<line>.+)$", re.M)
NAMED = re.compile(r"^<!-- file: (\S+) -->\n+```(\w+)\n", re.M)


class Entry(NamedTuple):
    """A line of the index: its part, the title, the path from docs/ without its suffix, and the topic."""

    part: str
    title: str
    page: str
    line: str


def entries() -> list[Entry]:
    """Return the lines of docs/index.md."""
    part, found = "", []
    for match in PARTS.finditer((ROOT / "docs/index.md").read_text(encoding="utf-8")):
        part = match["part"] or part
        if match["page"]:
            found.append(Entry(part, match["title"], match["page"], match["line"]))
    return found


def prepare(app: Sphinx, page: str, content: list[str]) -> None:
    """Add the navigation to the index and the list of decisions, and a caption to each block that is a file."""
    if page == root_doc:
        for part in dict.fromkeys(entry.part for entry in entries()):
            lines = [f"{entry.title} <{entry.page}>" for entry in entries() if entry.part == part]
            content[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {part}", "", *lines, "```", ""])
    if page == "docs/decisions":
        content[0] += "\n```{toctree}\n:hidden:\n:glob:\n\ndecisions/*\n```\n"
    content[0] = NAMED.sub(r"```{code-block} \2\n:caption: \1\n\n", content[0])


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write the files besides the pages: the root's index.html, and the list for language models (llmstxt.org)."""
    if exception is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    (out / "index.html").write_text(
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>servey</title>\n'
        '<link rel="icon" href="_static/favicon.svg">\n'
        '<meta http-equiv="refresh" content="0; url=docs/index.html">\n<a href="docs/index.html">servey</a>\n</html>\n',
        encoding="utf-8",
    )
    lines = [f"# {project} {release}", "", f"> {PROJECT['description']}"]
    for part in dict.fromkeys(entry.part for entry in entries()):
        lines += ["", f"## {part}", ""]
        for entry in (entry for entry in entries() if entry.part == part):
            address = posixpath.normpath(f"_sources/docs/{entry.page}.md")
            if not (out / address).is_file():
                raise ExtensionError(f"docs/index.md leads to {entry.page}.md, which is not built")
            lines.append(f"- [{entry.title}]({address}): {entry.line}")
    (out / "llms.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


class Session(Lexer):
    """A `console` block: commands behind a dollar sign, which go on while a quote is open, and what they print."""

    name = "Console session"

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        """Yield the tokens with their positions."""
        position, lines = 0, text.splitlines(keepends=True)
        while lines:
            line = lines.pop(0)
            if not line.startswith("$ "):
                yield position, Generic.Output, line
                position += len(line)
                continue
            command = line.removeprefix("$ ")
            while lines and not is_whole(command):
                command += lines.pop(0)
            yield position, Generic.Prompt, "$ "
            for start, kind, value in BashLexer().get_tokens_unprocessed(command):
                yield position + 2 + start, kind, value
            position += 2 + len(command)


def is_whole(command: str) -> bool:
    """Return whether a command ends where its text does."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return not command.endswith("\\\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect all of it."""
    app.add_lexer("console", Session)
    app.connect("source-read", prepare)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
