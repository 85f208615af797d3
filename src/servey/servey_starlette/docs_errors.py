"""The errors catalogue, with one entry per code. The ``type`` of every problem links to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

import msgspec

from servey.docstring.documentation import Documentation
from servey.docstring.markup import spans
from servey.errors import CALL_ERRORS, CallError, ErrorMapping, phrase
from servey.schema.graphql.errors import GRAPHQL_ERRORS
from servey.service import Service


class Entry(msgspec.Struct, frozen=True):
    """One error.

    Args:
        code: The code.
        status: The HTTP status.
        exit_code: The exit code of the command line.
        meaning: The first paragraph of the class's docstring, as Markdown.
        actions: The names of the actions that declare it.
    """

    code: str
    status: int
    exit_code: int
    meaning: str
    actions: tuple[str, ...] = ()


def built_in_entries() -> list[Entry]:
    """Return the built-in errors by status; the general `CallError` comes last."""
    ordered = sorted((*CALL_ERRORS, *GRAPHQL_ERRORS), key=lambda cls: (cls.status, cls.code))
    return [_entry(cls, cls) for cls in (*ordered, CallError)]


def own_entries(service: Service) -> list[Entry]:
    """Return the errors that the service's documented actions declare."""
    declared: dict[ErrorMapping, list[str]] = {}
    for operation in service.operations.values():
        if operation.action.include_in_schema:
            for mapping in dict.fromkeys(operation.errors):
                declared.setdefault(mapping, []).append(operation.name)
    return [
        _entry(item, item.type, names)
        for item, names in sorted(declared.items(), key=lambda pair: (pair[0].status, pair[0].code))
    ]


def _entry(row: type[CallError] | ErrorMapping, cls: type[Exception], actions: Iterable[str] = ()) -> Entry:
    meaning = Documentation.of_class(cls).lead
    return Entry(row.code, row.status, row.exit_code, meaning, tuple(sorted(actions)))


def catalogue(service: Service) -> dict[str, str]:
    """Return the variable parts of the page, as HTML."""
    own, built_in = own_entries(service), built_in_entries()
    known = {entry.code for entry in built_in}
    everywhere = len([item for item in service.operations.values() if item.action.include_in_schema])
    section = ""
    if own:
        articles = "".join(_articles(own, known, everywhere))
        section = (
            '<section aria-labelledby="this-service">\n<h2 id="this-service">Of this service</h2>\n'
            f"{articles}</section>"
        )
    return {"own": section, "builtin": "".join(_articles(built_in, set(), everywhere))}


def _articles(entries: Iterable[Entry], taken: set[str], everywhere: int) -> Iterator[str]:
    """Yield the entries; the first one of a code has the anchor."""
    for entry in entries:
        code = escape(entry.code)
        shown = f"<code>{code}</code>"
        if entry.code in taken:
            anchor = ""
        else:
            taken.add(entry.code)
            anchor, shown = f' id="{code}"', f'<a href="#{code}">{shown}</a>'
        status = escape(f"{entry.status} {phrase(entry.status)}".strip())
        yield f'<article{anchor}>\n<h3>{shown} <span class="status">{status}</span></h3>\n'
        if entry.meaning:
            yield f"<p>{_inline(entry.meaning)}</p>\n"
        if len(entry.actions) == everywhere > 1:
            yield '<p class="codes">Declared for every action</p>\n'
        elif entry.actions:
            names = ", ".join(f"<code>{escape(name)}</code>" for name in entry.actions)
            yield f'<p class="codes">Declared by {names}</p>\n'
        yield f'<p class="codes">Exit code {entry.exit_code}</p>\n</article>\n'


def _inline(text: str) -> str:
    """Return a paragraph of Markdown as HTML, with code spans."""
    return "".join(f"<code>{escape(part)}</code>" if is_code else escape(part) for part, is_code in spans(text))
