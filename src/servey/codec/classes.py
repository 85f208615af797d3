"""Read the members of a class, for each kind of class."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from servey.codec.constraints import is_mark
from servey.codec.defaults import fresh
from servey.codec.node import MISSING, Field, Flavor, Node

if TYPE_CHECKING:
    from servey.codec.type_reader import TypeReader

Hint = tuple[Any, Mapping[Any, Any]]
"""An annotation and what its type variables stand for."""

_CHECKS = ("__post_init__", "__attrs_post_init__")


def describe_class(reader: TypeReader, node: Node, args: tuple[Any, ...], at: str) -> None:
    """Fill in the members of the class of `node`, in place, because a class may contain itself.

    Raises:
        DefinitionError: The kind of the class is unknown, or a member cannot be served.
    """
    cls: Any = node.cls
    flavor = _flavor_of(cls)
    if not flavor:
        raise reader.error(
            at,
            f"{cls.__module__}.{cls.__qualname__} is not a data type",
            "use a dataclass, TypedDict, NamedTuple, msgspec.Struct, attrs or pydantic class, or a plugin's engine"
            + reader.otherwise,
        )
    at = node.location
    node.flavor = flavor
    if flavor == "namedtuple":
        node.kind = "tuple"
    _READERS[flavor](reader, node, _hints(reader, cls, args, at))
    node.checked = node.checked or any(hasattr(cls, name) for name in _CHECKS)
    node.plain = node.plain and all(field.node.plain for field in node.fields)
    wires = [field.wire for field in node.fields]
    if twice := next((wire for wire in wires if wires.count(wire) > 1), None):
        raise reader.error(at, f"two members are called {twice!r} in JSON", "rename one")


def _flavor_of(cls: Any) -> Flavor:
    is_extension = type(cls).__name__ == "_TypedDictMeta" and type(cls).__module__ == "typing_extensions"
    if is_extension or typing.is_typeddict(cls):
        return "typeddict"
    if hasattr(cls, "__dataclass_fields__"):
        return "dataclass"
    if issubclass(cls, msgspec.Struct):
        return "struct"
    if hasattr(cls, "_fields") and issubclass(cls, tuple):
        return "namedtuple"
    return "attrs" if hasattr(cls, "__attrs_attrs__") else ""


def _dataclass(reader: TypeReader, node: Node, hints: dict[str, Hint]) -> None:
    cls, at = node.cls, node.location
    _check_init(reader, node, dataclasses.fields(cls))
    for field in cls.__dataclass_fields__.values():
        # the annotation may be a text; only these private names show its meaning
        if field._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]
            reader.refuse_reading(f"{at}.{field.name}", "an InitVar is not kept in the object", "make it a field")
    for field in dataclasses.fields(cls):
        if is_mark(field.default):
            raise reader.error(
                f"{at}.{field.name}",
                f"{type(field.default).__name__} as the default of a dataclass of the standard library is its value",
                "write Annotated[..., Field(...)], or use pydantic.dataclasses.dataclass",
            )
        # a mark of SQLAlchemy's stands for the column's own default
        is_marked = type(field.default).__module__.partition(".")[0] == "sqlalchemy"
        default = MISSING if is_marked else field.default
        _add(reader, node, hints, field.name, default=default, factory=field.default_factory)


def _struct(reader: TypeReader, node: Node, hints: dict[str, Hint]) -> None:
    cls, at = node.cls, node.location
    config = cls.__struct_config__
    if config.array_like:
        raise reader.error(at, "a Struct with array_like=True", "use a NamedTuple")
    if config.tag is not None:
        node.tag = (config.tag_field, config.tag)
    for field in msgspec.structs.fields(cls):
        _add(reader, node, hints, field.name, field.encode_name, field.default, field.default_factory)


def _typeddict(reader: TypeReader, node: Node, hints: dict[str, Hint]) -> None:
    required = node.cls.__required_keys__
    for name in hints:
        _add(reader, node, hints, name)
        field = node.fields[-1]
        # the class's own set is wrong under `from __future__ import annotations`; the qualifier itself is right
        qualifiers = _qualifiers(hints[name][0])
        field.required = typing.Required in qualifiers or (name in required and typing.NotRequired not in qualifiers)
    # msgspec cannot leave a key out when it builds one from an input struct, and does not know ReadOnly
    node.plain = all(field.required for field in node.fields) and "ReadOnly" not in str(
        [hint for hint, _ in hints.values()]
    )


def _namedtuple(reader: TypeReader, node: Node, hints: dict[str, Hint]) -> None:
    defaults = node.cls._field_defaults
    for name in node.cls._fields:
        hints.setdefault(name, (Any, {}))
        _add(reader, node, hints, name, default=defaults.get(name, MISSING))
    node.items = [field.node for field in node.fields]
    node.plain = all(field.default_factory is None for field in node.fields)


def _attrs(reader: TypeReader, node: Node, hints: dict[str, Hint]) -> None:
    attr = sys.modules["attr"]
    fields = node.cls.__attrs_attrs__
    _check_init(reader, node, fields)
    for field in fields:
        if field.name not in hints:
            raise reader.error(f"{node.location}.{field.name}", "has no type", "annotate it")
        is_made = isinstance(field.default, attr.Factory)
        takes_self = is_made and field.default.takes_self
        default = MISSING if is_made or field.default is attr.NOTHING else field.default
        _add(reader, node, hints, field.name, default=default, factory=is_made and field.default.factory)
        node.fields[-1].alias = field.alias
        if takes_self:  # only the class makes the default
            node.fields[-1].default_factory = None
            node.plain = False
    # only the class's own __init__ runs converters and validators in attrs' own order
    node.checked = any(f.converter or f.validator or f.alias != f.name for f in fields)
    node.plain = node.plain and not node.checked


_READERS: dict[str, Callable[[TypeReader, Node, dict[str, Hint]], None]] = {
    "typeddict": _typeddict,
    "dataclass": _dataclass,
    "struct": _struct,
    "namedtuple": _namedtuple,
    "attrs": _attrs,
}


def _add(
    reader: TypeReader,
    node: Node,
    hints: dict[str, Hint],
    name: str,
    wire: str = "",
    default: Any = MISSING,
    factory: Any = None,
) -> None:
    place = f"{node.location}.{name}"
    if not name.isidentifier() or name.startswith("__"):
        raise reader.error(place, "a member cannot have this name", "rename it, or use a dict[str, …]")
    hint, env = hints[name]
    member = reader.node(hint, place, env)
    if default is dataclasses.MISSING or default is msgspec.NODEFAULT:
        default = MISSING
    factory = factory if callable(factory) else None  # libraries have marks for none
    required = default is MISSING and factory is None
    try:
        factory = factory or fresh(default)
    except ValueError as error:
        reader.refuse_reading(place, str(error), "use a default_factory")
    node.fields.append(Field(name, wire or name, member, required, default, factory, member.description))


def _check_init(reader: TypeReader, node: Node, fields: Iterable[Any]) -> None:
    """Refuse to read a class whose constructor does not take exactly its fields."""
    code = getattr(node.cls.__init__, "__code__", None)
    if code is None or not code.co_filename.startswith(("<string>", "<attrs generated")):
        fix = "use __post_init__, or a classmethod as constructor"
        reader.refuse_reading(node.location, "has its own __init__, which no decoder calls", fix)
    for field in fields:
        if not field.init:
            why = "init=False: the constructor does not take this field, so callers must not send it"
            reader.refuse_reading(f"{node.location}.{field.name}", why, "make it a property")


def _hints(reader: TypeReader, cls: type, args: tuple[Any, ...], at: str) -> dict[str, Hint]:
    """Return the annotation of every member, each with the type variables of the class that declares it."""
    environments = _environments(cls, args)
    names = {cls.__name__: cls}
    found: dict[str, Hint] = {}
    for owner in reversed(cls.__mro__):
        if owner in (object, typing.Generic):
            continue
        names |= {parameter.__name__: parameter for parameter in getattr(owner, "__type_params__", ())}
        try:
            resolved = typing.get_type_hints(owner, localns=dict(names), include_extras=True)
        except (NameError, TypeError, SyntaxError, AttributeError) as error:
            fix = "mend the annotation, define the class at module level, or import it"
            raise reader.error(at, f"a type hint cannot be resolved: {error}", fix) from None
        own = resolved if typing.is_typeddict(owner) else inspect.get_annotations(owner)
        env = environments.get(owner) or environment(getattr(owner, "__parameters__", ()), ())
        for name in own:
            if name in resolved and typing.get_origin(resolved[name]) is not typing.ClassVar:
                found[name] = (resolved[name], env)
    return found


def _environments(cls: type, args: tuple[Any, ...]) -> dict[Any, dict[Any, Any]]:
    """Return the values of the type variables, for a generic class and each of its bases."""
    found: dict[Any, dict[Any, Any]] = {}

    def visit(owner: Any, given: tuple[Any, ...]) -> None:
        env = environment(getattr(owner, "__parameters__", ()), given)
        found.setdefault(owner, {}).update(env)
        for base in getattr(owner, "__orig_bases__", ()):
            origin = typing.get_origin(base)
            if isinstance(origin, type) and origin is not typing.Generic:
                inner = tuple(_substituted(arg, env) for arg in typing.get_args(base))
                visit(origin, inner)
                if typing.is_typeddict(cls):  # a TypedDict keeps no bases: all members are its own
                    found[cls].update(found[origin])

    visit(cls, args)
    return found


def environment(parameters: Iterable[Any], given: Iterable[Any]) -> dict[Any, Any]:
    """Return the types of the type variables: the given types, and the defaults of the others (PEP 696)."""
    parameters = tuple(parameters)
    env = dict(zip(parameters, given, strict=False))
    for parameter in parameters[len(env) :]:
        if getattr(parameter, "has_default", bool)():
            env[parameter] = _substituted(parameter.__default__, env)
    return env


def _substituted(tp: Any, env: Mapping[Any, Any]) -> Any:
    if isinstance(tp, typing.TypeVar):
        return env.get(tp, tp)
    parameters = type_parameters(tp)
    return tp[tuple(env.get(parameter, parameter) for parameter in parameters)] if parameters else tp


def type_parameters(tp: Any) -> tuple[Any, ...]:
    """Return the type variables left in a type; none for a bare generic class."""
    bare = isinstance(tp, type) and not typing.get_args(tp)
    return () if bare else getattr(tp, "__parameters__", ())


def _qualifiers(hint: Any) -> set[Any]:
    found: set[Any] = set()
    while (origin := typing.get_origin(hint)) is not None and origin not in (list, dict):
        found.add(origin)
        arguments = typing.get_args(hint)
        if not arguments:
            break
        hint = arguments[0]
    return found
