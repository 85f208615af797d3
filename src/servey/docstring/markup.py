"""Convert the markup of docstrings: to Markdown for descriptions (OpenAPI 3.1 §4.8, GraphQL §3.2), or to plain text.

Docstrings are written in Markdown or in reStructuredText. `markdown` translates reStructuredText and leaves Markdown
unchanged, so a docstring need not declare its markup.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

_FENCE = re.compile(r"( *)(`{3,}|~{3,}) *([\w+.-]*)[^`]*$")
_DIRECTIVE = re.compile(r"( *)\.\. ([\w-]+):: *(.*)$")
_CONTENT = re.compile(r" *(?:(?:[-*+]|\d+[.)]) +)?")
"""The start of a line before its text: indentation and list marker."""
_OPTION = re.compile(r":[\w-]+:")
_CODE_DIRECTIVES = frozenset({"code", "code-block", "sourcecode", "parsed-literal"})
_ADMONITIONS = ("attention", "caution", "danger", "error", "hint", "important", "note", "tip", "todo", "warning")
_TITLES = {name: f"**{name.capitalize()}:**" for name in _ADMONITIONS} | {"seealso": "**See also:**"}
_VERSIONS = {"versionadded": "Added in", "versionchanged": "Changed in", "deprecated": "Deprecated since"}

_INLINE = re.compile(
    r":(?P<role>[A-Za-z][\w.+:-]*):`(?P<named>[^`]+)`(?:\\ )?"
    r"|(?<!`)``(?P<literal>[^`]+)``(?!`)(?:\\ )?"
    r"|(?<!`)`(?P<link>[^`<]+?)\s*<(?P<target>[^`<>\s]+)>`__?(?!\w)"
    r"|(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)",
    re.DOTALL,
)
"""A role, a literal, a link, or a code span of Markdown, which stays unchanged."""
_LEADING_ROLE = re.compile(r"^( *)(:[A-Za-z][\w.+:-]*:`[^`]+`(?:\\ )?)", re.MULTILINE)
_TITLED = re.compile(r"(.+?)\s*<[^<>]+>", re.DOTALL)
_PROSE_ROLES = frozenset({"abbr", "dfn", "doc", "emphasis", "numref", "ref", "strong", "sub", "sup", "term", "title"})
_NUMBERED_ROLES = frozenset({"pep", "rfc"})

_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_BLANK_LINES = re.compile(r"\n{3,}")
_HEADING = re.compile(r"^ {0,3}#{1,6} +", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]\[]+)\]\(<?([^()<>\s]+)>?(?:\s[^()]*)?\)")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]+)>")
_EMPHASIS = re.compile(r"(?<![\w*\\])(\*{1,3})(?=[^\s*])([^*]+?)(?<=[^\s\\])\1(?![\w*])")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


class _Block(NamedTuple):
    """Lines of prose, or a code block with its language and indentation."""

    lines: Sequence[str]
    is_code: bool = False
    language: str = ""
    margin: str = ""


def markdown(text: str) -> str:
    """Translate a text of a docstring to Markdown.

    Args:
        text: Markdown or reStructuredText. The translation includes literals, roles, links, literal blocks, doctests,
            code and admonitions.

    Example:
        >>> markdown("Needs the scope ``root``, see :func:`~app.login`.")
        'Needs the scope `root`, see `login`.'
    """
    parts: list[str] = []
    for block in _merged(text):
        if block.is_code:
            ticks = "~~~" if any("```" in line for line in block.lines) else "```"
            fenced = [ticks + block.language, *block.lines, ticks]
            parts.append(textwrap.indent("\n".join(fenced), block.margin))
        else:
            parts += [_INLINE.sub(_as_markdown, paragraph) for paragraph in _paragraphs(block)]
    return "\n".join(parts).strip("\n")


def without_leading_roles(docstring: str) -> str:
    """Return a docstring in which no line begins with a role: the parser would read the role as a field."""
    return _LEADING_ROLE.sub(lambda found: found[1] + _INLINE.sub(_as_markdown, found[2]), docstring)


def plain(text: str) -> str:
    """Return Markdown as plain text; code is indented, lists stay as they are.

    Example:
        >>> plain("Needs the *scope* `root`, see [login](https://example.org).")
        'Needs the scope root, see login (https://example.org).'
    """
    parts: list[str] = []
    for block in _merged(text):
        if block.is_code:
            code = textwrap.indent("\n".join(block.lines), f"{block.margin}    ")
            parts.append(f"\n{code}\n")
        else:
            parts += map(_unmarked, _paragraphs(block))
    return _BLANK_LINES.sub("\n\n", "\n".join(parts)).strip("\n")


def spans(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a Markdown paragraph as (plain text, whether it is code)."""
    at = 0
    for found in _SPAN.finditer(text):
        yield _without_marks(text[at : found.start()]), False
        yield found[2].strip(), True
        at = found.end()
    yield _without_marks(text[at:]), False


# --- blocks -----------------------------------------------------------------------------------------------------------


def _merged(text: str) -> Iterator[_Block]:
    """Yield the blocks of a text, with adjacent lines of prose as one block."""
    for is_code, blocks in groupby(_blocks(text.split("\n")), lambda block: block.is_code):
        if is_code:
            yield from blocks
        else:
            yield _Block([line for block in blocks for line in block.lines])


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    at = 0
    while at < len(lines):
        for read in (_fenced, _doctest, _directive, _literal):
            if (found := read(lines, at)) is not None:
                blocks, at = found
                yield from blocks
                break
        else:
            yield _Block([lines[at]])
            at += 1


def _paragraphs(block: _Block) -> Iterator[str]:
    """Yield the paragraphs of a block of prose and the blank lines between them; markup never spans paragraphs."""
    for _, lines in groupby(block.lines, lambda line: not line.strip()):
        yield "\n".join(lines)


_Read = tuple[Sequence[_Block], int]
"""The blocks that begin at a line, and the index of the line after them."""


def _fenced(lines: Sequence[str], at: int) -> _Read | None:
    opening = _FENCE.match(lines[at])
    if opening is None:
        return None
    margin, ticks, language = opening.groups()
    end = at + 1
    while end < len(lines) and not (lines[end].strip().startswith(ticks) and not lines[end].strip().strip(ticks[0])):
        end += 1
    code = [line.removeprefix(margin) for line in lines[at + 1 : end]]
    return [_Block(code, True, language, margin)], end + 1


def _doctest(lines: Sequence[str], at: int) -> _Read | None:
    if not lines[at].lstrip().startswith(">>> "):
        return None
    end = at
    while end < len(lines) and lines[end].strip():
        end += 1
    margin = _margin(lines[at])
    return [_Block([line.removeprefix(margin) for line in lines[at:end]], True, "pycon", margin)], end


def _directive(lines: Sequence[str], at: int) -> _Read | None:
    found = _DIRECTIVE.match(lines[at])
    if found is None:
        return None
    margin, name, argument = found.groups()
    body, end = _body(lines, at)
    if name in _CODE_DIRECTIVES:
        while body and _OPTION.match(body[0]):
            body = body[1:]
        return [_Block("\n".join(body).strip("\n").split("\n"), True, argument, margin), _Block([""])], end
    if name in _VERSIONS:
        version, _, argument = argument.partition(" ")
        title = f"**{_VERSIONS[name]} {version}.**"
    elif name in _TITLES:
        title = _TITLES[name]
    else:
        return None
    block = f"{title} " + "\n".join([argument, *body]).strip()
    return [*_blocks(textwrap.indent(block.rstrip(), margin).split("\n")), _Block([""])], end


def _literal(lines: Sequence[str], at: int) -> _Read | None:
    head = lines[at].rstrip()
    if not head.endswith("::"):
        return None
    body, end = _body(lines, at)
    if not body:
        return None
    text = head[:-2].rstrip() if head.endswith(" ::") or head.strip() == "::" else head[:-1]
    begins = _CONTENT.match(head)
    margin = " " * len(begins[0] if begins else "")
    return [_Block([text, ""] if text else []), _Block(body, True, "", margin), _Block([""])], end


def _body(lines: Sequence[str], at: int) -> tuple[list[str], int]:
    """Return the more deeply indented lines after a line, dedented, and the index of the line after them."""
    margin = len(_margin(lines[at]))
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or len(_margin(lines[end])) > margin):
        end += 1
    body = textwrap.dedent("\n".join(lines[at + 1 : end])).strip("\n")
    return body.split("\n") if body else [], end


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


# --- lines ------------------------------------------------------------------------------------------------------------


def _as_markdown(found: re.Match[str]) -> str:
    if literal := found["literal"]:
        return f"`{literal}`"
    if link := found["link"]:
        return f"[{link}]({found['target']})"
    return _role(found["role"], found["named"]) if found["role"] else found[0]


def _role(role: str, named: str) -> str:
    """Return the Markdown of interpreted text: code, unless its role is one of prose."""
    name = role.rpartition(":")[2]
    if name in _NUMBERED_ROLES:
        return f"{name.upper()} {named}"
    titled = _TITLED.fullmatch(named)
    text = titled[1] if titled else named.removeprefix("!")
    if text.startswith("~"):
        text = text[1:].rpartition(".")[2]
    return text if name in _PROSE_ROLES else f"`{text}`"


def _unmarked(paragraph: str) -> str:
    """Return a paragraph of Markdown as plain text."""
    return "".join(part for part, _ in spans(_HEADING.sub("", paragraph)))


def _without_marks(text: str) -> str:
    """Return Markdown without code spans as plain text."""
    text = _LINK.sub(_address, text)
    text = _AUTOLINK.sub(r"\1", text)
    while (less := _EMPHASIS.sub(r"\2", text)) != text:
        text = less
    return _ESCAPE.sub(r"\1", text)


def _address(found: re.Match[str]) -> str:
    is_image, text, target = found.groups()
    return text if is_image or text == target else f"{text} ({target})"
