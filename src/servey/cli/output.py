"""Write results and tables to standard output, for a terminal or for the next program."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from servey.cli.errors import EX_IOERR, CommandError
from servey.problem_details import encodable_text

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Matches control characters other than tabs and newlines, and those that change the direction of a text."""
_GAP = "  "
_NARROWEST = 24
"""The minimum width of the last column, in characters."""


def write_json(data: bytes) -> None:
    """Write a JSON text: indented on a terminal, otherwise as it is, in UTF-8, with a newline."""
    if is_terminal():
        write(msgspec.json.format(data, indent=2).decode())
        return
    with _writing():
        sys.stdout.flush()
        rest = memoryview(data + b"\n")
        while rest:  # with PYTHONUNBUFFERED the buffer is the file itself, which may take a part only
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()


def write(text: str) -> None:
    """Write lines of text; colours are taken out unless this is a terminal."""
    with _writing():
        click.echo(encodable_text(text))
        sys.stdout.flush()


def utc_text(moment: float) -> str:
    """Return a time in Unix seconds as in RFC 3339, in UTC and with milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """Return a text with escapes for control characters, which a terminal would obey: strangers may have sent it.

    Example:
        >>> print(printable("red: \\x1b[31m"))
        red: \\x1b[31m
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def flush() -> None:
    """Write the rest of the buffer, if there is a standard output."""
    if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]
        with _writing():
            sys.stdout.flush()


def is_terminal() -> bool:
    """Whether standard output is an open terminal."""
    return sys.stdout is not None and sys.stdout.isatty()  # pyright: ignore[reportUnnecessaryComparison]


@contextmanager
def _writing() -> Generator[None]:
    """Raise `CommandError` if standard output is closed, or its disk full; but not if its reader has ended."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise CommandError("cannot write to standard output: it is closed", EX_IOERR)
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        silence()
        raise CommandError(f"cannot write to standard output: {error.strerror}", EX_IOERR) from error


def write_table(headings: Sequence[str], rows: Sequence[Sequence[Sequence[str]]]) -> None:
    """Write rows of cells, each a sequence of items.

    On a terminal, the items of a cell are below each other, and the last column is wrapped. Elsewhere a row is one full
    line. Empty columns are left out, and control characters are escaped.
    """
    rows = [[[printable(item) for item in cell] for cell in row] for row in rows]
    wanted = [index for index in range(len(headings)) if any(any(row[index]) for row in rows)]
    terminal = is_terminal()
    cells = [[list(row[index]) if terminal else [", ".join(row[index])] for index in wanted] for row in rows]
    titles = [headings[index] for index in wanted]
    widths = [
        max([len(title), *(len(line) for row in cells for line in row[column])]) for column, title in enumerate(titles)
    ]
    if terminal and widths:
        left = shutil.get_terminal_size().columns - 1 - sum(width + len(_GAP) for width in widths[:-1])
        for row in cells:
            row[-1] = [part for line in row[-1] for part in textwrap.wrap(line, max(left, _NARROWEST))]
    lines = [click.style(_line(titles, widths), bold=True)]
    for row in cells:
        for position in range(max(1, *map(len, row))):
            lines.append(_line([cell[position] if position < len(cell) else "" for cell in row], widths))
    write("\n".join(lines))


def silence() -> None:
    """Drop the rest of the output, because its reader has ended.

    Python flushes it at exit and would complain (https://docs.python.org/3/library/signal.html#note-on-sigpipe).
    """
    with suppress(OSError, ValueError):  # it may be replaced by an object that is not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def write_file(name: str, text: str) -> None:
    """Write a text to a file, or to standard output for ``-``; raise `CommandError` if that fails."""
    text = encodable_text(text)
    if name == "-":
        click.echo(text, nl=False)
        return
    try:
        _replace(Path(name), text.encode())
    except OSError as error:
        raise CommandError(f"cannot write {name}: {error.strerror or error}", EX_IOERR) from error


def _replace(path: Path, content: bytes) -> None:
    """Write a file, wholly or not at all: if that fails, the old content stays."""
    path = path.resolve()
    if path.exists() and not path.is_file():  # a device or a pipe, which is written to and not replaced
        path.write_bytes(content)
        return
    beside = path.with_name(f".servey-{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        if path.exists():
            shutil.copymode(path, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
