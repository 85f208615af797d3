"""Call an action from Python: find it by its function or name, and bind its arguments."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from servey.codec import MISSING, ArgumentsCodec, ResultError, to_jsonable
from servey.errors import InvalidError, MalformedError, nearest

if TYPE_CHECKING:
    from servey.action.operation import Operation


class MissingArgumentsError(ValueError):
    """A call leaves out an argument that has no default."""


class Operations(Protocol):
    """The part of a `servey.service.Service` that finds operations."""

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The operations, by name."""
        ...

    def operation(self, name: str) -> Operation:
        """Return the operation of a name, which may be short; raise `KeyError` if there is none."""
        ...


def operation_of(service: Operations, action: Callable[..., Any] | str) -> Operation:
    """Return the operation of an action.

    Args:
        service: The service that has the action.
        action: The decorated function, or the action's name.

    Raises:
        LookupError: The service has no such action.
    """
    if isinstance(action, str):
        try:
            return service.operation(action)
        except KeyError:
            near = nearest(action, service.operations)
            hint = f"; did you mean {near!r}?" if near else ""
            raise LookupError(f"the service has no action {action!r}{hint}") from None
    declared = getattr(action, "__servey_action__", None)
    if declared is None:
        raise LookupError(f"{getattr(action, '__qualname__', repr(action))} is not an action: put @action above it")
    named = service.operations.get(declared.name)
    if named is not None and named.action is declared:
        return named
    for operation in service.operations.values():  # a nested action has a longer name
        if operation.action is declared:
            return operation
    raise LookupError(f"the service that is running does not serve {declared.name}")


def bind(
    name: str, codec: ArgumentsCodec, positional: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Return the decoded arguments of a Python call.

    Args:
        name: The action's name, for errors.
        codec: The codec of its arguments.
        positional: The names of the parameters that may be given by position.
        args: The arguments by position.
        kwargs: The arguments by name.

    Raises:
        MissingArgumentsError: Arguments without a default are not given, and there is no other problem.
        ValueError: Arguments are unknown, given twice or not of their types; the error has all problems.
    """
    problems = list(_wrong_names(name, codec, positional, args, kwargs))
    given = dict(zip(positional, args, strict=False))
    given.update((key, value) for key, value in kwargs.items() if key in codec.parameters)
    missing = [key for key, (item, _) in codec.parameters.items() if item.default is MISSING and key not in given]
    if missing:
        problems.append(f"{name}: {', '.join(missing)} must be given, too")
    wrong: list[str] = []
    written: dict[str, Any] = {}
    for key, value in given.items():
        try:
            written[key] = _jsonable(value)
        except (TypeError, ValueError, ResultError, RecursionError) as error:
            wrong.append(f"/{key}: {error}")
    absent = {f"/{key}" for key in codec.parameters if key not in written}  # reported already
    cause: Exception | None = None
    try:
        arguments = codec.decode(written)
    except InvalidError as error:
        wrong += [f"{path}: {message}" for path, message in error.errors if path not in absent]
        cause = error
    except (TypeError, ValueError, ResultError, MalformedError) as error:
        wrong.append(str(error))
        cause = error
    else:
        if not problems and not wrong:
            return arguments
    if wrong:
        problems.append(f"{name} cannot have these arguments: {'; '.join(wrong)}")
    kind = MissingArgumentsError if missing and len(problems) == 1 else ValueError
    raise kind("; ".join(problems)) from cause


def _wrong_names(
    name: str, codec: ArgumentsCodec, positional: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[str]:
    if len(args) > len(positional):
        yield f"{name} takes {len(positional)} arguments by position, got {len(args)}"
    for key in kwargs:
        if key in positional[: len(args)]:
            yield f"{name} is given {key!r} twice"
        elif key not in codec.parameters:
            near = nearest(key, codec.parameters)
            yield f"{name} has no parameter {key!r}" + (f"; did you mean {near!r}?" if near else "")


def _jsonable(value: Any) -> Any:
    """Return the JSON value of an argument; a datetime without an offset stays without one."""
    kind = cast(Any, type(value))
    if kind is datetime.datetime:
        return to_jsonable(value) if value.tzinfo is not None else value.isoformat()
    if kind is list or kind is tuple:
        return [_jsonable(item) for item in value]
    if kind is dict and all(type(name) is str for name in value):
        return {name: _jsonable(item) for name, item in value.items()}
    if hasattr(kind, "__dataclass_fields__") and not hasattr(kind, "__marshaller_factory__"):
        from dataclasses import fields  # a dataclass has imported it; `import servey` need not

        members = {field.name: getattr(value, field.name) for field in fields(cast(Any, kind))}
        return {name: _jsonable(member) for name, member in members.items() if member is not msgspec.UNSET}
    return to_jsonable(value)
