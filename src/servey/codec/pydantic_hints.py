"""Read the hints of pydantic's classes for facts that a core schema lacks: classes, members, msgspec's constraints."""

from __future__ import annotations

import functools
import types
import typing
from typing import Annotated, Any

import msgspec
import pydantic
from pydantic_core import PydanticUndefined

from servey.codec.constraints import translate
from servey.codec.engine import CustomMember
from servey.codec.pydantic_schema import read_names
from servey.docstring.documentation import markdown_of
from servey.errors import DefinitionError


class _AskPydantic:
    """Marks a type that only pydantic knows."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler(source)


def classes_of(tp: Any) -> tuple[type, ...]:
    """Return the data classes in a type of pydantic's: its own, and those of its members.

    Raises:
        DefinitionError: A member has a constraint that pydantic would ignore.
    """
    found: list[type] = []
    seen: list[Any] = []

    def visit(part: Any) -> None:
        for argument in typing.get_args(part):
            visit(argument)
        cls: Any = typing.get_origin(part) or part
        cls = getattr(cls, "__value__", None) or getattr(cls, "__supertype__", cls)
        if cls in seen or getattr(cls, "__module__", "") in ("builtins", "typing", "types"):
            return
        seen.append(cls)
        if not isinstance(cls, type):
            visit(cls) if typing.get_origin(cls) else None
            return
        if any(
            hasattr(cls, name) for name in ("__pydantic_fields__", "__dataclass_fields__", "__pydantic_core_schema__")
        ):
            found.append(cls)
        elif not hasattr(cls, "__required_keys__") and not hasattr(cls, "_fields"):
            return
        for name, hint in _hints(cls).items():
            if typing.get_origin(hint) is not typing.ClassVar and not name.startswith("__"):
                _refuse_ignored(f"{cls.__name__}.{name}", hint)
                visit(hint)

    visit(tp)
    return tuple(found)


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError):
        fields: dict[str, Any] = getattr(cls, "__pydantic_fields__", {})
        return {name: field.annotation for name, field in fields.items()}


def _is_ignored(item: Any) -> bool:
    """Whether servey knows a constraint, but pydantic ignores it."""
    return (isinstance(item, msgspec.Meta) and bool(translate((item,))[0])) or type(item).__name__ == "Timezone"


def _refuse_ignored(at: str, hint: Any) -> None:
    if any(map(_is_ignored, getattr(hint, "__metadata__", ()))):
        raise DefinitionError(
            f"{at}: pydantic reads the class, and ignores msgspec.Meta and annotated_types.Timezone",
            fix="use annotated_types or pydantic.Field, as MinLen(8), and AwareDatetime or NaiveDatetime",
        )
    for argument in typing.get_args(hint):
        _refuse_ignored(at, argument)


def with_constraints(tp: Any) -> Any:
    """Return an annotation in which pydantic's constraints replace those of msgspec."""
    origin, arguments = typing.get_origin(tp), typing.get_args(tp)
    if origin is None or origin is typing.Literal:
        return tp
    if origin is Annotated:
        base = with_constraints(arguments[0])
        return Annotated[(base, *(part for item in tp.__metadata__ for part in _as_pydantics(item)))]
    changed = tuple(map(with_constraints, arguments))
    if all(old is new for old, new in zip(arguments, changed, strict=True)):
        return tp
    return typing.Union[changed] if origin in (typing.Union, types.UnionType) else origin[changed]  # noqa: UP007


def _as_pydantics(item: Any) -> list[Any]:
    if not isinstance(item, msgspec.Meta) and not _is_ignored(item):
        return [item]
    constraints, description = translate((item,))
    limits = {name: value for name, value in constraints.items() if name != "tz"}
    found: list[Any] = [pydantic.Field(description=description or None, **limits)]
    if constraints.tz is not None:
        found.append(pydantic.AfterValidator(functools.partial(_with_offset, constraints.tz)))
    return found


def _with_offset(wanted: bool, value: Any) -> Any:
    if (value.tzinfo is not None) is not wanted:
        raise ValueError("expected an offset" if wanted else "expected no offset")
    return value


def has_members(cls: Any) -> bool:
    """Whether a class is read and written as an object of its fields, without a function of the user."""
    decorators = getattr(cls, "__pydantic_decorators__", None)
    return bool(
        getattr(cls, "__pydantic_fields__", None)
        and decorators is not None
        and not getattr(cls, "__pydantic_root_model__", False)
        and not decorators.field_serializers
        and not decorators.model_serializers
    )


def members_of(cls: Any) -> tuple[CustomMember, ...]:
    """Return the members of a model or a dataclass of pydantic's, computed ones included."""
    found: list[CustomMember] = []
    for name, field in cls.__pydantic_fields__.items():
        got = None if field.exclude else field.serialization_alias or field.alias or name
        alias = field.validation_alias or field.alias
        alias = alias if isinstance(alias, str) or alias is None else alias.convert_to_aliases()
        no_default = field.default is PydanticUndefined or field.default_factory is not None
        found.append(
            CustomMember(
                name,
                Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation,
                next(iter(read_names(name, alias)), name),
                got,
                required=field.is_required(),
                default=msgspec.UNSET if no_default else field.default,
                description=markdown_of(field.description),
                own_engine=_AskPydantic(),
            )
        )
    for name, computed in cls.__pydantic_decorators__.computed_fields.items():
        info = computed.info
        found.append(
            CustomMember(
                name,
                info.return_type,
                None,
                info.alias or name,
                description=markdown_of(info.description),
                own_engine=_AskPydantic(),
            )
        )
    return tuple(found)
