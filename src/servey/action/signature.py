"""The parameters and the result of an action's function, resolved when the service is built."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection
from functools import cached_property
from typing import Any

import msgspec

from servey.action.action import Action
from servey.action.callables import docstring_of, hints_of, parameters_of
from servey.action.context import CallContext
from servey.action.reply import Reply
from servey.codec import MISSING, Parameter
from servey.codec.constraints import is_mark
from servey.docstring.documentation import Documentation, markdown_of
from servey.errors import DefinitionError, snake_case
from servey.security.authorization import Authorization


class Injected(msgspec.Struct, frozen=True):
    """A parameter that servey fills, never the caller.

    Args:
        name: The parameter's name.
        type: Its type: `Authorization`, `CallContext`, or the type of a resource or an injector.
        optional: Whether None is valid (``Optional[Authorization]``).
    """

    name: str
    type: type
    optional: bool = False


class ActionSignature(msgspec.Struct, frozen=True, dict=True):
    """The types of an action's function.

    Args:
        name: The action's name in its service.
        parameters: The parameters of the caller, in order; for a nested action ``self`` first.
        injected: The injected parameters.
        order: The names of all parameters in the order of the function, with whether each is keyword-only.
        result: The result's type, without `Reply`.
        replies: Whether the function returns a `Reply`.
        owner: The class that a nested action is defined in.
    """

    action: Action
    name: str
    parameters: tuple[Parameter, ...]
    injected: tuple[Injected, ...]
    order: tuple[tuple[str, bool], ...]
    result: Any
    replies: bool = False
    owner: type | None = None

    @cached_property
    def documentation(self) -> Documentation:
        """The action's parsed docstring; `@action(description=…)` replaces its summary and description."""
        documentation = Documentation.of(docstring_of(self.action.fn))
        if self.action.description is not None:
            lead, _, rest = markdown_of(self.action.description).partition("\n\n")
            documentation = msgspec.structs.replace(documentation, lead=lead, description=rest.strip("\n"))
        return documentation

    @classmethod
    def of(cls, action: Action, injectable: Collection[type] = (), owner: type | None = None) -> ActionSignature:
        """Resolve the annotations of `action`.

        Args:
            action: The action.
            injectable: Further injectable types, besides `Authorization` and `CallContext`.
            owner: The class that defines a nested action.

        Raises:
            DefinitionError: An annotation is missing or cannot be resolved, or a caller cannot fill a parameter of this
                kind. The error has all problems of the function.
        """
        hints = hints_of(action.fn, action.namespace, owner, action.where)
        kinds = {Authorization, CallContext, *injectable}
        parameters: list[Parameter] = []
        injected: list[Injected] = []
        order: list[tuple[str, bool]] = []
        problems: list[DefinitionError] = []
        for position, parameter in enumerate(parameters_of(action.fn).values()):
            name = parameter.name
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                star = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
                problems.append(
                    DefinitionError(
                        f"{action.function_name} takes {star}{name}, which no caller can fill",
                        where=action.where,
                        fix="name and annotate every parameter",
                    )
                )
                continue
            order.append((name, parameter.kind is parameter.KEYWORD_ONLY))
            if owner is not None and position == 0:
                parameters.append(Parameter(name, owner))
                continue
            if name not in hints:
                problems.append(
                    _no_annotation(action, f"the parameter {name!r} of {action.function_name}", f"{name}: str")
                )
                continue
            asked, optional = asked_for(hints[name])
            if isinstance(asked, type) and asked in kinds:
                injected.append(Injected(name, asked, optional))
                continue
            default = MISSING if parameter.default is parameter.empty else parameter.default
            if is_mark(default):
                problems.append(
                    DefinitionError(
                        f"the default of the parameter {name!r} of {action.function_name} is not a value, but a "
                        f"{type(default).__name__}",
                        where=action.where,
                        fix=f"write {name}: Annotated[…, Field(…)] = 1, or no default for the value of a @resource",
                    )
                )
                continue
            parameters.append(Parameter(name, hints[name], default))
        if "return" not in hints:
            problems.append(_no_annotation(action, f"the result of {action.function_name}", "-> str, or -> None"))
        if problems:
            raise DefinitionError.join(problems)
        result = hints["return"]
        replies = typing.get_origin(result) is Reply
        if result is Reply:
            raise DefinitionError(
                f"the Reply of {action.function_name} has no type", where=action.where, fix="write -> Reply[str]"
            )
        return cls(
            action=action,
            name=_nested_name(action, owner) if owner is not None else action.name,
            parameters=tuple(parameters),
            injected=tuple(injected),
            order=tuple(order),
            result=typing.get_args(result)[0] if replies else result,
            replies=replies,
            owner=owner,
        )


def _no_annotation(action: Action, what: str, fix: str) -> DefinitionError:
    return DefinitionError(f"{what} has no annotation", where=action.where, fix=f"annotate it, as in {fix}")


def asked_for(hint: Any) -> tuple[Any, bool]:
    """Return the type that a parameter asks for, and whether None is valid.

    `Annotated`, `Final`, a NewType or an alias around the type make no difference: a caller must not be able to send an
    `Authorization` only because its annotation has a note.
    """
    optional = False
    while True:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Annotated, typing.Final):
            hint = args[0]
        elif origin in (typing.Union, types.UnionType) and len(args) == 2 and type(None) in args:
            hint, optional = args[args[0] is type(None)], True
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType" and not hint.__type_params__:
            try:
                hint = hint.__value__
            except Exception:  # noqa: BLE001 - evaluated here for the first time; the codec reports the error
                return hint, optional
        else:
            return hint, optional


def _nested_name(action: Action, owner: type) -> str:
    if action.named:
        return action.name
    return f"{snake_case(owner.__name__)}_{action.name}"
