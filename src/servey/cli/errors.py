"""Errors on standard error, and their exit codes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from importlib.util import find_spec

import click

from servey.cli.project import Project, raised_on_import
from servey.errors import CallError, DefinitionError, MissingExtraError, ResourceError, ServeyError, SettingsError
from servey.problem_details import encodable_text
from servey.security.authorization import is_scope

EX_USAGE, EX_NOINPUT, EX_UNAVAILABLE, EX_SOFTWARE, EX_IOERR, EX_CONFIG = 64, 66, 69, 70, 74, 78
"""Of ``sysexits.h``; `os.EX_*` has them on POSIX only."""

_SAMPLE = """
  from servey.action.action import action
  from servey.trigger.web_trigger import WEB_GET


  @action(triggers=(WEB_GET,))
  def say_hello(name: str) -> str:
      \"\"\" Greet a user! \"\"\"
      return f"Hello {name}!"
"""


class CommandError(click.ClickException):
    """A command fails; `code` is the exit code of the program."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def scope_of(option: str, text: str) -> str:
    """Return the scope that an option names, or raise `click.UsageError`."""
    if is_scope(text):
        return text
    raise click.UsageError(
        f"{option}: {text!r} is not a scope; use printable ASCII without spaces, quotes and backslashes."
    )


def show_usage_error(error: click.ClickException, color: bool | None = None) -> int:
    """Show an error of the command line; return the exit code. By default, the command decides on colours."""
    if not isinstance(error, click.UsageError):
        _say(error.format_message(), color=color)
        return error.code if isinstance(error, CommandError) else error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return EX_USAGE
    if error.ctx is not None:
        click.echo(f"{error.ctx.get_usage()}\nTry `{error.ctx.command_path} --help`.\n", err=True)
    _say(error.format_message(), color=color)
    return EX_USAGE


def show_call_error(error: CallError, request_id: str, place: Callable[[str], str]) -> None:
    """Show the error of a call: code, detail and every problem, at the `place` of its JSON pointer."""
    detail = error.detail
    if error.exit_code == EX_SOFTWARE:
        detail = f"the service has a defect; its log has more on request {request_id}"
    _say(detail, error.code)
    for path, message in error.errors:
        click.echo(encodable_text(f"  {place(path)}: {message}"), err=True)
    for name, value in error.data.items():
        click.echo(encodable_text(f"  {name} = {value}"), err=True)


def show_error(error: Exception, project: Project) -> int:
    """Show any other error; return the exit code."""
    if isinstance(error, CallError):
        show_call_error(error, "", str)
        return error.exit_code
    if isinstance(error, (DefinitionError, SettingsError)):
        _say(str(error))
        if isinstance(error, DefinitionError) and _has_no_module(project):
            click.echo(f"\nA first one, say:\n{_SAMPLE}", err=True)
        return EX_CONFIG
    if isinstance(error, (MissingExtraError, ResourceError)):
        _say(str(error))
        return EX_UNAVAILABLE
    text, theirs = _with_traceback(error)
    click.echo(text, err=True)
    return EX_CONFIG if theirs else EX_SOFTWARE


def error_text(error: BaseException) -> str:
    """Return the text that `show_error` writes for an error while a service is loaded."""
    if isinstance(error, ServeyError) and not isinstance(error, CallError):
        return _labelled(str(error))
    return _with_traceback(error)[0]


def _with_traceback(error: BaseException) -> tuple[str, bool]:
    """Return the traceback with its meaning, and whether the user's own modules raised the error on import."""
    theirs = raised_on_import(error)  # takes servey's own lines off the traceback
    trace = "".join(traceback.format_exception(error)).rstrip()
    meaning = (
        "your modules cannot be loaded; the traceback says why"
        if theirs
        else "this is a defect of servey, or of a plugin"
    )
    return f"{trace}\n{_labelled(meaning)}", theirs


def _say(message: str, code: str = "", color: bool | None = None) -> None:
    click.echo(_labelled(encodable_text(": ".join(filter(None, [code, message])))), err=True, color=color)


def _labelled(message: str) -> str:
    return f"{click.style('Error:', fg='red', bold=True)} {message}"


def _has_no_module(project: Project) -> bool:
    settings = vars(project).get("settings")
    try:
        return (
            settings is not None and find_spec(settings.process.action_path.split(",")[0].strip().split(".")[0]) is None
        )
    except (ImportError, ValueError):
        return False
