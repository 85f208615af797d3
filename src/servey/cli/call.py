"""``servey call``: one command per action, with flags made from its signature."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click
import msgspec
from click.shell_completion import CompletionItem

from servey.action.context import CallContext, Origin, new_request_id
from servey.action.operation import Operation
from servey.cli.errors import EX_NOINPUT, CommandError, scope_of, show_call_error
from servey.cli.flags import Flag, command_line, flags_of
from servey.cli.output import write_json
from servey.cli.project import Project, project_of, quiet
from servey.docstring.documentation import plain_of, summary_of
from servey.errors import CallError, count_of, nearest
from servey.security.authorization import Authorization
from servey.servey_direct import direct

_LINES = re.compile(r"^(?: {2}|(?:[-*+|]|\d+[.)]) )", re.MULTILINE)
"""Matches the first characters of a line of code, of a list or of a table: such a paragraph is not wrapped."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ActionGroup(click.Group):
    """The group whose commands are the project's actions."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the actions; for a completion, none if the project cannot be loaded."""
        if ctx.resilient_parsing:
            project = _completed(ctx)
            return [] if project is None else list(project.service.operations)
        return list(project_of(ctx).service.operations)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of an action; dashes may stand for underscores."""
        project = _completed(ctx) if ctx.resilient_parsing else project_of(ctx)
        if project is None:
            return None
        for name in (cmd_name, cmd_name.replace("-", "_")):
            try:
                return ActionCommand(project.service.operation(name))
            except KeyError:
                continue
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the actions with their summaries."""
        names = self.list_commands(ctx)
        if not names:
            return
        limit = formatter.width - 6 - max(map(len, names))
        operations = project_of(ctx).service.operations
        with formatter.section("Actions"):
            formatter.write_dl([(name, ActionCommand(operations[name]).get_short_help_str(limit)) for name in names])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the action's command and its arguments; the error for an unknown action names the nearest one."""
        command = self.get_command(ctx, args[0])
        if command is not None or ctx.resilient_parsing:
            return args[0], command, args[1:]
        names = list(project_of(ctx).service.operations)
        near = nearest(args[0].replace("-", "_"), names)
        if len(shared := [name for name in names if name.endswith("_" + args[0])]) > 1:
            hint = f"Several nested actions have this name; write one of: {', '.join(shared)}."
        elif near:
            hint = f"Did you mean {near!r}?"
        else:
            hint = "`servey list` shows all actions."
        raise click.UsageError(f"There is no action {args[0]!r}. {hint}", ctx)


class ActionCommand(click.Command):
    """The command of one action. It parses the docstring only for its help."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.flags = flags_of(
            operation, taken=("--event", "--token", "--as-scope", "--as-subject", "--cached", "--help")
        )
        self._keys = {f"p{number}": flag for number, flag in enumerate(self.flags)}
        event = click.Option(
            ["--event"],
            multiple=True,
            metavar="JSON|@FILE|-",
            help="The arguments as one JSON object: the text itself, @ and a file's name, or - for standard input. "
            "Flags can add arguments.",
        )
        token = click.Option(
            ["--token"],
            metavar="TOKEN|@FILE",
            help="The token of the caller: the token itself, or @ and a file's name. Servey verifies it and checks the "
            "access control, as over a network.",
        )
        as_scope = click.Option(
            ["--as-scope"],
            multiple=True,
            metavar="SCOPE",
            help="A scope of the caller. Servey checks the access control, as over a network. Repeatable.",
        )
        as_subject = click.Option(
            ["--as-subject"],
            metavar="NAME",
            help="The name of the caller; --as-scope gives its scopes. Default: cli.",
        )
        cached = click.Option(
            ["--cached"],
            is_flag=True,
            help="Use the shared store of cached results (SERVEY_RESULT_CACHE), as over a network.",
        )
        keeps = [cached] if operation.action.cache_control is not None else []
        super().__init__(
            operation.name,
            params=[
                *(flag.option(key) for key, flag in self._keys.items()),
                event,
                token,
                as_scope,
                as_subject,
                *keeps,
            ],
            callback=self._call,
            deprecated=operation.action.deprecated,
        )

    def get_help(self, ctx: click.Context) -> str:
        """Return the whole help."""
        self._document()
        return super().get_help(ctx)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the summary."""
        self._document()
        return super().get_short_help_str(limit)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the flags that begin with `incomplete`."""
        self._document()
        return super().shell_complete(ctx, incomplete)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the documentation of the result, and the examples as command lines."""
        if returns := self.operation.signature.documentation.returns:
            with formatter.section("Returns"):
                formatter.write_text(_unwrapped(plain_of(returns)))
        shown = [checked for checked in self.operation.examples if checked.example.include_in_schema]
        if not shown:
            return
        with formatter.section("Examples"):
            for checked in shown:
                title = summary_of(checked.example.description or checked.example.name)
                line = f"{ctx.command_path} {command_line(self.flags, checked.params)}".rstrip()
                formatter.write(f"{'':{formatter.current_indent}}# {title}\n{'':{formatter.current_indent}}{line}\n")

    def _document(self) -> None:
        documentation = self.operation.signature.documentation
        self.help = _unwrapped(plain_of(documentation.prose)) or None
        for option in self.params:
            flag = self._keys.get(option.name or "")
            if flag is not None and isinstance(option, click.Option):
                option.help = flag.help(summary_of(documentation.parameters.get(flag.name, "")))

    def _call(
        self,
        event: Sequence[str],
        token: str | None,
        as_scope: Sequence[str],
        as_subject: str | None,
        cached: bool = False,
        **values: Any,
    ) -> None:
        ctx = click.get_current_context()
        is_said = bool(as_scope) or as_subject is not None
        if token is not None and is_said:
            option = "--as-scope" if as_scope else "--as-subject"
            raise click.UsageError(f"--token and {option} both say who calls: which one is meant?", ctx)
        given = [flag for key, flag in self._keys.items() if values[key] not in (None, ())]
        texts = [text for key, flag in self._keys.items() for text in flag.texts(values[key])]
        if len(event) > 1:
            raise click.UsageError("--event is given more than once.", ctx)
        data = _read(event[0]) if event else None
        if data is not None:
            _refuse_both(ctx, data, given)
        context = CallContext(Origin.SYSTEM, "cli", new_request_id())
        if is_said:
            subject = "cli" if as_subject is None else as_subject
            context.authorization = Authorization(
                subject=subject, scopes=frozenset(scope_of("--as-scope", item) for item in as_scope)
            )
        bearer = None if token is None else _token(token)
        service = project_of(ctx).service

        async def call_it() -> bytes:
            return await direct.call(service, self.operation.name, data, texts=texts, context=context, cached=cached)

        async def called() -> bytes:
            if bearer is None and context.authorization is None:
                return await call_it()
            async with service.running():
                if bearer is not None:
                    deadline = self.operation.deadline(context, self.operation.runtime)
                    context.authorization = await service.authenticate(bearer, context, deadline)
                await self.operation.check_access(context)
                return await call_it()

        try:
            with redirect_stdout(sys.stderr):  # what the action prints is not a part of the result
                result = direct.run(called())
        except CallError as error:
            show_call_error(error, context.request_id, lambda path: self._place(path, given, data is not None))
            if error.code == "unauthorized" and bearer is None and self.operation.needs_caller:
                options = "--token TOKEN, or --as-scope SCOPE and --as-subject NAME"
                click.echo(f"  the action needs a caller: give {options}", err=True)
            ctx.exit(error.exit_code)
        if service.stores.submitted and service.stores.calls.is_durable:
            count = count_of(service.stores.submitted, "background call")
            maker = "`servey worker`" if service.settings.background.broker else "a running server or `servey worker`"
            click.echo(f"{count} submitted, for {maker} to make", err=True)
        write_json(result)

    def _place(self, path: str, given: Sequence[Flag], by_event: bool) -> str:
        """Return the place of a JSON pointer in the command line: a flag, or a part of the event."""
        _, _, rest = path.partition("/")
        name, slash, inner = rest.partition("/")
        for flag in self.flags:
            if flag.name == name and (flag in given or not by_event):
                return flag.on + (f" at {slash}{inner}" if inner else "")
        return path or "--event"


def _unwrapped(text: str) -> str:
    """Return a text with click's mark (a backspace) before each paragraph of code, lists or tables: no wrapping."""
    return "\n\n".join(f"\b\n{part}" if _LINES.search(part) else part for part in text.split("\n\n"))


def _completed(ctx: click.Context) -> Project | None:
    """Return the project with its loaded service, or None if it cannot be loaded, without output."""
    project = project_of(ctx)
    try:
        with quiet():
            _ = project.service
    except (Exception, SystemExit):  # noqa: BLE001 - from the import of a user's module
        return None
    return project


def _read(event: str) -> bytes:
    """Return the JSON text of ``--event``."""
    if event == "-":
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise CommandError("cannot read standard input: it is closed", EX_NOINPUT)
        data = sys.stdin.buffer.read()
    elif event.startswith("@"):
        try:
            data = Path(event[1:]).read_bytes()
        except OSError as error:
            raise CommandError(f"cannot read {event[1:]}: {error.strerror}", EX_NOINPUT) from error
    else:
        data = event.encode("utf-8", "surrogateescape")
    return data.removeprefix(_BYTE_ORDER_MARK)


def _token(given: str) -> str:
    """Return the token of ``--token``."""
    return _read(given).decode("utf-8", "replace").strip() if given.startswith("@") else given.strip()


def _refuse_both(ctx: click.Context, data: bytes, given: Sequence[Flag]) -> None:
    try:
        event = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # the operation says why
    twice = [flag.on for flag in given if isinstance(event, dict) and flag.name in event]
    if twice:
        raise click.UsageError(f"--event gives a value for {', '.join(twice)}, too: which one is meant?", ctx)


@click.group("call", cls=ActionGroup, subcommand_metavar="ACTION [FLAGS]...")
def call() -> None:
    """Call an action and print its result as JSON.

    `servey call ACTION --help` shows the flags of an action.
    """
