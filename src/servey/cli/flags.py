"""Make the flags of ``servey call`` from an action's signature, and command lines from its examples."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePath
from typing import Any

import click
from click.shell_completion import CompletionItem

from servey.action.operation import Operation
from servey.codec import MISSING, Parameter, to_jsonable
from servey.codec.node import Node
from servey.codec.scalars import wire_values
from servey.codec.text import TextKind

_NAMES: dict[Any, str] = {
    str: "TEXT",
    int: "INTEGER",
    float: "NUMBER",
    bytes: "BASE64",
    bytearray: "BASE64",
    timedelta: "DURATION",
}
_LIMITS = {
    "gt": "more than {}",
    "ge": "at least {}",
    "lt": "less than {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
    "pattern": "matching {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
}


@dataclass(frozen=True)
class Flag:
    """The flag of one parameter.

    Args:
        parameter: The parameter.
        node: Its type.
        kind: The form of the type as text: plain, repeated, or one JSON value.
        on: The flag: ``--name``.
        off: The flag that makes a boolean false, ``--no-name``; empty for other types.
        owner: The class of a nested action, if the parameter is its ``self``.
    """

    parameter: Parameter
    node: Node
    kind: TextKind
    on: str
    off: str = ""
    owner: type | None = None

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter.name

    def option(self, key: str) -> click.Option:
        """Return the option of click with the name `key`; its value is a tuple of texts, or a bool, or None."""
        if self.off:
            return click.Option([key, f"{self.on}/{self.off}"], is_flag=True, default=None)
        choices = _choices(self._item)
        return click.Option(
            [key, self.on],
            type=_Text(choices, self._is_path),
            multiple=True,
            metavar=self._metavar(choices),
            help=self.help(""),
        )

    def texts(self, value: Any) -> list[tuple[str, str]]:
        """Return the option's value as texts for the codec."""
        if value is None:
            return []
        if isinstance(value, bool):
            return [(self.name, "true" if value else "false")]
        return [(self.name, text) for text in value]

    def help(self, description: str) -> str:
        """Return the line of ``--help``: the description, the limits of the value, the default."""
        if self.owner is not None:
            description = f"The {self.owner.__name__} that it is called on."
        notes = [_LIMITS[name].format(value) for name, value in _limits(self.node, self.kind) if name in _LIMITS]
        if self.kind == "list":
            notes.append("repeatable")
        if self.parameter.default is MISSING:
            notes.append("required")
        elif self.parameter.default is not None and (default := _shown(self.parameter.default)) is not None:
            notes.append(f"default: {default}")
        return f"{' '.join(description.split())}  [{'; '.join(notes)}]".strip() if notes else description

    def words(self, wire: Any) -> list[str] | None:
        """Return the words of a command line for a JSON value; None if only ``--event`` can express it."""
        if self.off and isinstance(wire, bool):
            return [self.on if wire else self.off]
        if self.kind == "json":
            return [self.on, _json(wire)]
        items: list[Any] = wire if self.kind == "list" else [wire]
        if not items or any(item is None for item in items):
            return None
        return [word for item in items for word in (self.on, item if isinstance(item, str) else _json(item))]

    @property
    def _item(self) -> Node:
        """The type of one text of the flag."""
        node = _without_none(self.node)
        return _without_none(node.items[0]) if self.kind == "list" else node

    @property
    def _is_path(self) -> bool:
        cls: Any = self._item.cls
        return self.kind != "json" and isinstance(cls, type) and issubclass(cls, PurePath)

    def _metavar(self, choices: Sequence[str]) -> str:
        if choices:
            return f"[{'|'.join(choices)}]"
        if self.kind == "json":
            return "JSON"
        node = self._item
        if self._is_path:
            return "PATH"
        if node.custom is not None:
            return str(node.custom.schema("input").get("format", "text")).upper()
        return _NAMES.get(node.cls) or getattr(node.cls, "__name__", "value").upper()


class _Text(click.ParamType[str]):
    """Any text, because the codec checks all arguments together. The choices are only for completion."""

    name = "text"

    def __init__(self, choices: Sequence[str], is_path: bool) -> None:
        self.choices = choices
        self.is_path = is_path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the choices that begin with `incomplete`, or leave it to the shell to complete a path."""
        if self.is_path:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(choice) for choice in self.choices if choice.startswith(incomplete)]


def flags_of(operation: Operation, taken: Collection[str]) -> tuple[Flag, ...]:
    """Return a flag for every parameter; one with the name of a `taken` option gets ``--param-NAME``."""
    used = set(taken)
    names: dict[str, str] = {}
    for name in operation.arguments.parameters:
        flag = f"--{name.replace('_', '-')}" if not name.startswith("_") else f"--{name}"
        while flag in used:
            flag = f"--param-{flag[2:]}"
        used.add(flag)
        names[name] = flag
    flags: list[Flag] = []
    for name, (parameter, node) in operation.arguments.parameters.items():
        kind = operation.arguments.text_kind(name)
        off = f"--no-{names[name][2:]}"
        if kind != "scalar" or _without_none(node).cls is not bool or off in used:
            off = ""
        used.add(off)
        owner = operation.signature.owner if not flags else None
        flags.append(Flag(parameter, node, kind, names[name], off, owner))
    return tuple(flags)


def command_line(flags: Sequence[Flag], params: Mapping[str, Any]) -> str:
    """Return the part of a command line, quoted for a POSIX shell, that gives `params` (JSON values by name)."""
    by_name = {flag.name: flag for flag in flags}
    words: list[str] = []
    for name, wire in params.items():
        if wire is None and name in by_name and by_name[name].parameter.default is None:
            continue
        given = by_name[name].words(wire) if name in by_name else None
        if given is None:
            return shlex.join(["--event", _json(params)])
        words += given
    return shlex.join(words)


def _without_none(node: Node) -> Node:
    members = [item for item in node.members if item.cls is not type(None)]
    return members[0] if len(members) == 1 else node


def _choices(node: Node) -> list[str]:
    if node.custom is not None:
        wires = node.custom.schema("input").get("enum", ())
    else:
        wires = [True, False] if node.cls is bool else wire_values(node)
    return [wire if isinstance(wire, str) else _json(wire) for wire in wires if wire is not None]


def _limits(node: Node, kind: TextKind) -> list[tuple[str, Any]]:
    if kind == "json":
        return []
    node = _without_none(node)
    inner = _without_none(node.items[0]).constraints.items() if kind == "list" else []
    return [*node.constraints.items(), *inner] if kind == "scalar" else inner


def _shown(default: Any) -> str | None:
    try:
        wire = to_jsonable(default)
        return wire if isinstance(wire, str) and wire else _json(wire)
    except Exception:  # noqa: BLE001 - a default that JSON cannot hold is still a default
        return None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
