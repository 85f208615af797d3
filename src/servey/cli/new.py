"""``servey new``: a project that runs at once."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from importlib.resources import files
from pathlib import Path

import click

import servey
from servey.cli.errors import CommandError

EX_CANTCREAT = 73
"""Of ``sysexits.h``: a file cannot be written."""

FILES = (
    "actions.py",
    "tests/__init__.py",
    "tests/test_actions.py",
    "requirements.txt",
    "Makefile",
    "README.md",
    "Dockerfile",
    ".dockerignore",
    ".gitignore",
)
"""The files of a new project. The template of each has the same name without a leading dot, and ends in .in"""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_ALLOWED = {".git"}
"""Entries of a directory that counts as empty: it may already be a repository."""


@click.command("new")
@click.argument("name")
def new(name: str) -> None:
    """Make a project that runs: two files of Python, a Makefile, a Dockerfile.

    NAME is a new or an empty directory; `servey new .` uses the current one. The command downloads and installs
    nothing.
    """
    directory = checked(name)
    try:
        make(directory)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommandError(f"cannot write {name}: {reason}; nothing was made", EX_CANTCREAT) from error
    click.echo(f"Made the project {directory.name}: {', '.join(FILES)}\n\nNext:")
    steps = next_steps(name)
    width = max(len(command) for command, _ in steps)
    for command, comment in steps:
        click.echo(f"  {command:{width}}  {comment}".rstrip())


def next_steps(name: str) -> list[tuple[str, str]]:
    """Return the next commands for the user, each with a comment."""
    enter = [] if Path(name) == Path() else [(f"cd {shlex.quote(name)}", "")]
    return [
        *enter,
        ("make test", "# install what it needs into .venv, and run the tests"),
        ("make serve", "# serve it on http://localhost:8000"),
    ]


def checked(name: str) -> Path:
    """Return the absolute path of the new directory.

    Raises:
        CommandError: It exists and is not empty, or its parent does not exist.
        click.BadParameter: The last part of `name` is not a valid name.
    """
    given = Path(name)
    directory = given.resolve() if given.name in ("", "..") else given.absolute()
    if name and os.path.isdir(directory):  # pathlib raises for names that are too long
        try:
            found = sorted({entry.name for entry in os.scandir(directory)} - _ALLOWED)
        except OSError as error:
            raise CommandError(f"cannot read {name}: {error.strerror}", EX_CANTCREAT) from error
        if found:
            raise CommandError(f"{name} is not empty, it has {found[0]!r}; name a new directory", EX_CANTCREAT)
        return directory
    if name and os.path.lexists(directory):
        raise CommandError(f"{name} is not a directory; name another", EX_CANTCREAT)
    if not _NAME.fullmatch(given.name):
        raise click.BadParameter(
            f"{given.name!r} is not a valid name of a project: write ASCII letters, digits, '.', '_' and '-', "
            "100 at most, and begin and end with a letter or a digit.",
            param_hint="NAME",
        )
    if not os.path.isdir(directory.parent):
        raise CommandError(f"there is no directory {given.parent}; make it first", EX_CANTCREAT)
    return directory


def make(directory: Path) -> None:
    """Write the project into a new or empty directory: all of it, or nothing."""
    in_place = directory.is_dir()
    aside = (directory if in_place else directory.parent) / f".servey-new-{os.getpid()}"
    aside.mkdir()
    try:
        write(aside, directory.name)
        if in_place:  # the directory stays the one that a shell is in, or that is mounted there
            _move_all(aside, directory)
        else:
            aside.rename(directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write(directory: Path, name: str) -> None:
    """Write the files of a project called `name` into a directory."""
    title = name if _NAME.fullmatch(name) else package_name(name)  # it stands in Python and in Markdown
    values = {"name": title, "package": package_name(name), "requirement": requirement(servey.__version__)}
    templates = files("servey.cli").joinpath("new_project")
    for file in FILES:
        text = templates.joinpath(*(f"{file.lstrip('.')}.in").split("/")).read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace("{{" + key + "}}", value)
        path = directory / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def package_name(name: str) -> str:
    """Return a project's name in the form of package indexes and image registries.

    Example:
        >>> package_name("My.Parcel_service"), package_name("größe")
        ('my-parcel-service', 'gr-e')
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "service"


def requirement(version: str) -> str:
    """Return the requirement of a project made by this version: this version, up to the next major one.

    Example:
        >>> requirement("6.4.0.dev1")
        'servey[server]>=6.4.0.dev1,<7'
    """
    major = int(version.partition(".")[0])
    return f"servey[server]>={version},<{major + 1}"


def _move_all(source: Path, target: Path) -> None:
    moved: list[Path] = []
    try:
        for path in sorted(source.iterdir()):
            moved.append(path.rename(target / path.name))
    except BaseException:  # Ctrl-C, too
        for path in moved:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise
