"""The program: its commands, and their long forms ``python -m servey --run=…``."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from itertools import takewhile
from typing import Any, NoReturn

import click

import servey
from servey.cli.errors import EX_SOFTWARE, CommandError, show_error, show_usage_error
from servey.cli.output import flush, silence
from servey.cli.project import Project, project_of, quiet
from servey.errors import nearest
from servey.plugin import Command

COMMANDS = (
    Command("serve", "servey.cli.serve:serve", "Serve the actions over HTTP."),
    Command("call", "servey.cli.call:call", "Call an action and print its result as JSON."),
    Command("worker", "servey.cli.worker:worker", "Make background calls and run schedules, without HTTP."),
    Command("beat", "servey.cli.worker:beat", "Put the calls of schedules into a broker."),
    Command("schedule", "servey.cli.schedule:schedule", "Show the next and the last runs of schedules."),
    Command("calls", "servey.cli.calls:calls", "List the background calls; retry or forget failed ones."),
    Command("list", "servey.cli.listing:list_actions", "List the actions with their triggers and access."),
    Command("openapi", "servey.cli.documents:openapi", "Write the OpenAPI document to a file."),
    Command("graphql-schema", "servey.cli.documents:graphql_schema", "Write the GraphQL schema to a file."),
    Command("config", "servey.cli.listing:show_config", "Show the effective settings."),
    Command("token", "servey.cli.token:print_token", "Print a token for trying things out."),
    Command("new", "servey.cli.new:new", "Make a project that runs."),
    Command("completion", "servey.cli.completion:print_completion", "Print a shell's completion script."),
)
"""The program's own commands. A plugin can add commands, but not replace these."""

RUNS = {"server": "serve", "action": "call", "scheduler": "worker"}
"""The commands with another name in ``--run=NAME``."""

_ALIASES = {command: name for name, command in RUNS.items()}

SIGINT_EXIT_CODE = 130
SIGPIPE_EXIT_CODE = 141


class Program(click.Group):
    """The group of all commands; each is loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, the program's own first."""
        return list(_commands(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; for one of a plugin, the plugins are loaded."""
        own = {command.name: command for command in COMMANDS}
        found = own.get(cmd_name) or _commands(ctx).get(cmd_name)
        return None if found is None else _load(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command and its arguments; the error for an unknown one names all commands."""
        command = self.get_command(ctx, args[0])
        if command is not None or ctx.resilient_parsing:
            return args[0], command, args[1:]
        near = nearest(args[0], [*_commands(ctx), *RUNS])
        known = [f"{name} (--run={alias})" if (alias := _ALIASES.get(name)) else name for name in _commands(ctx)]
        hint = f"Did you mean {near!r}? " if near else ""
        raise click.UsageError(f"There is no command {args[0]!r}. {hint}There are: {', '.join(known)}.", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their summaries, and load none."""
        with formatter.section("Commands"):
            formatter.write_dl([(command.name, command.summary) for command in _commands(ctx).values()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options."""
        with _readable():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; show an error, and return its exit code."""
        try:
            with _readable():
                super().invoke(ctx)
                flush()
        except (click.Abort, click.exceptions.Exit):
            raise
        except click.ClickException as error:
            ctx.exit(show_usage_error(error))
        except Exception as error:  # noqa: BLE001 - every error is shown and has an exit code
            ctx.exit(show_error(error, project_of(ctx)))


class _SetByAnyValue(click.Option):
    """A flag that any non-empty value of its variable sets, even ``NO_COLOR=0`` (https://no-color.org)."""

    def value_from_envvar(self, ctx: click.Context) -> Any:
        return True if self.resolve_envvar_value(ctx) else None


def _set_color(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.color = False


@click.group(
    "servey",
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
    epilog="""\b
`python -m servey` is this program, too:
  python -m servey                                             servey serve
  python -m servey --run=NAME                                  servey NAME
  python -m servey --run=action --action=NAME --event=JSON     servey call NAME --event=JSON
""",
)
@click.option(
    "--no-color",
    cls=_SetByAnyValue,
    is_flag=True,
    envvar="NO_COLOR",
    is_eager=True,
    expose_value=False,
    callback=_set_color,
    help="Write no colours; so does the variable NO_COLOR.",
)
@click.version_option(servey.__version__, message="servey %(version)s")
def program() -> None:
    """Serve and call the actions that the modules in this directory declare."""


def main(args: Sequence[str] | None = None, *, program_name: str = "servey", default: str = "") -> NoReturn:
    """Run the program and exit.

    Args:
        args: The arguments; default: those of the process.
        program_name: Its name in messages.
        default: The command if the arguments name none.
    """
    sys.exit(run(sys.argv[1:] if args is None else args, program_name=program_name, default=default))


def run(args: Sequence[str], *, program_name: str = "servey", default: str = "", project: Project | None = None) -> int:
    """Run the program and return its exit code. The arguments are those of `main`."""
    if not sys.flags.safe_path and not {"", os.getcwd()}.intersection(sys.path):
        sys.path.insert(0, "")  # as `python -m` does; a program's own path begins with where it is installed
    try:
        code: Any = program.main(
            words(args, default),
            prog_name=program_name,
            complete_var="_SERVEY_COMPLETE",
            standalone_mode=False,
            obj=project or Project(),
        )
    except click.ClickException as error:
        return show_usage_error(error, color=False)  # the arguments could not be read, --no-color among them
    except (click.Abort, KeyboardInterrupt):
        return SIGINT_EXIT_CODE
    return code if isinstance(code, int) else 0


def words(args: Sequence[str], default: str = "") -> list[str]:
    """Return the arguments with ``--run=NAME`` replaced by the command that it means, or by the default command.

    Raises:
        click.UsageError: ``--run`` or ``--action`` stands without the other, or has no value.

    Example:
        >>> words(["--run=action", "--action=say_hello", "--event={}"])
        ['call', 'say_hello', '--event={}']
        >>> words([], "serve")
        ['serve']
    """
    lead = list(takewhile(lambda word: word == "--no-color", args))
    rest = list(args[len(lead) :])
    if not rest:
        return [*lead, default] if default else lead
    if not rest[0].startswith("-") or rest[0] in ("-h", "--help", "--version"):
        return [*lead, *rest]
    options = {word.partition("=")[0] for word in rest}
    if "--run" not in options:
        if "--action" in options:
            raise click.UsageError("--action needs --run=action before it.")
        return [*lead, default, *rest] if default else [*lead, *rest]
    name = _taken(rest, "--run")
    if name != "action":
        return [*lead, RUNS.get(name, name), *rest]
    if "--action" not in options:
        raise click.UsageError("--run=action needs --action=NAME; `servey list` shows the actions.")
    return [*lead, RUNS[name], _taken(rest, "--action"), *rest]


def _taken(rest: list[str], option: str) -> str:
    """Take an option out of `rest` and return its value."""
    for index, word in enumerate(rest):
        if word.startswith(f"{option}="):
            del rest[index]
            return word.partition("=")[2]
        if word == option and index + 1 < len(rest):
            value = rest[index + 1]
            del rest[index : index + 2]
            return value
    raise click.UsageError(f"{option} needs a value.")


def _commands(ctx: click.Context) -> dict[str, Command]:
    """Return every command by name. For completion, a plugin that cannot be loaded is left out, quietly."""
    project = project_of(ctx)
    try:
        with quiet() if ctx.resilient_parsing else nullcontext():
            added = project.commands
    except Exception:
        if not ctx.resilient_parsing:
            raise
        added = ()
    commands = {command.name: command for command in COMMANDS}
    for command in added:
        commands.setdefault(command.name, command)
    return commands


def _load(command: Command) -> click.Command:
    module, _, name = command.target.partition(":")
    loaded = getattr(import_module(module), name, None)
    if not isinstance(loaded, click.Command):
        raise CommandError(f"a plugin's command {command.name} names {command.target}, no click command", EX_SOFTWARE)
    return loaded


@contextmanager
def _readable() -> Generator[None]:
    """Exit silently when the reader of standard output has ended (``servey list | head -1``)."""
    try:
        yield
    except BrokenPipeError:
        silence()
        raise click.exceptions.Exit(SIGPIPE_EXIT_CODE) from None
