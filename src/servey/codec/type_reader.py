"""Read type hints into the `Node` tree, or refuse them.

msgspec builds decoders for many types without an error, and then fails or misreads at the first request. So servey
checks the types when it builds the service. Its error names the part of the type, the reason and the fix.
"""

from __future__ import annotations

import datetime
import enum
import itertools
import sys
import types
import typing
from collections import abc, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

import msgspec

from servey.codec import constraints as _constraints
from servey.codec.classes import describe_class, environment, type_parameters
from servey.codec.engine import Engine, SchemaMode
from servey.codec.engines import ENGINES
from servey.codec.node import Constraints, Node
from servey.codec.scalars import choice, custom_scalar, json_kinds, wires_of
from servey.codec.type_facts import (
    DICTS,
    LEAVES,
    LISTS,
    is_custom_to_msgspec,
    is_hashable,
    is_int64,
    is_json_scalar,
    shown_type,
    size_of,
)
from servey.errors import DefinitionError

_GROWTH = 4
"""How often a generic class may contain itself with larger arguments each time."""
_CUSTOM_TO_MSGSPEC = frozenset({deque, abc.Iterable, abc.Reversible})


def _typing(name: str) -> tuple[Any, ...]:
    """Return a name of `typing`, and of typing_extensions and SQLAlchemy when the user's code has imported them."""
    modules = (typing, sys.modules.get("typing_extensions"), sys.modules.get("sqlalchemy.orm.base"))
    return tuple(getattr(module, name) for module in modules if hasattr(module, name))


Env = Mapping[Any, Any]
_NO_ENV: Env = types.MappingProxyType({})


_Read = Callable[["TypeReader", Any, tuple[Any, ...], str], Node]


class TypeReader:
    """Reads the types of one declaration: of a result, or of an action's parameters.

    Args:
        label: The name of the declaration, for errors: ``the result of say_hello``.
        where: The place in the user's source, for errors.
        engines: The plugins' engines, asked before servey's.
        otherwise: Another use of a class that is not a data type, added to the fix.
        side: The direction that every type has to support; None for no check.

    Attributes:
        unreadable: Why the types cannot be read, if they are only written.
    """

    def __init__(
        self,
        label: str,
        where: str,
        engines: Sequence[Engine],
        otherwise: str = "",
        side: SchemaMode | None = None,
    ) -> None:
        self.unreadable: DefinitionError | None = None
        self.otherwise = otherwise
        self._side: SchemaMode | None = side
        self.label = label
        self.where = where
        self.engines = tuple(engines)
        self.classes: list[type] = []
        self._memo: dict[Any, Node] = {}
        self._path: list[Any] = []
        """The classes and aliases whose parts are being read, the innermost last."""
        self._alias_types = _typing("TypeAliasType")
        self._qualifiers = (typing.Final, typing.Required, typing.NotRequired, *_typing("ReadOnly"), *_typing("Mapped"))

    def node(self, tp: Any, at: str, env: Env = _NO_ENV) -> Node:
        """Return the node of an annotation; `env` has the values of its type variables.

        Raises:
            DefinitionError: A part of the type cannot be served.
        """
        tp = self._bound(tp, at, env)
        if isinstance(tp, (str, typing.ForwardRef)):
            name = getattr(tp, "__forward_arg__", tp)
            raise self.error(
                at, f"the name {name!r} cannot be resolved", "define the class at module level, or import it"
            )
        if tp in (Any, object):
            return Node("any", Any, location=at)
        if tp is None:
            tp = type(None)
        if isinstance(tp, typing.NewType):
            return msgspec.structs.replace(self.node(tp.__supertype__, at), type=tp, alias=tp.__name__)
        if isinstance(tp, self._alias_types):
            return self._alias(tp, tp, at, ())
        origin, args = typing.get_origin(tp), typing.get_args(tp)
        if isinstance(origin, self._alias_types):
            return self._alias(tp, origin, at, args)
        if origin in self._qualifiers:
            return self.node(args[0], at)
        if tp in self._qualifiers:
            raise self.error(at, f"a bare {tp} says no type", "write the type, as Final[int]")
        return self._concrete(tp, origin, args, at)

    def refuse_reading(self, at: str, why: str, fix: str) -> None:
        """Note that a class can only be written; raise a `DefinitionError` if the types are to be read."""
        error = self.error(at, why, fix)
        if self._side != "output":
            raise error
        self.unreadable = self.unreadable or error

    def error(self, at: str, why: str, fix: str) -> DefinitionError:
        """Return the definition error for the part `at` of the type."""
        return DefinitionError(f"{self.label}: {at}: {why}", where=self.where, fix=fix)

    def _claimed(self, tp: Any, at: str, engines: Sequence[Engine]) -> Node | None:
        """Return the custom node for `tp` when one of `engines` claims it."""
        for engine in engines:
            try:
                custom = engine.claim(tp)
                if custom is None:
                    continue
                if self._side is not None:
                    custom.schema(self._side)  # a type without a schema is refused now, not at its first use
                like = custom.like and custom.like(self._side or "output")
                inner = self.node(like, at) if like else None  # the scalar that the custom type looks like
            except DefinitionError as error:
                raise self.error(at, error.message, error.fix) from None
            self._meet(*custom.classes)
            cls = tp if isinstance(tp, type) and custom.are_instances else object
            return Node(
                "custom", tp, cls, at, custom=custom, flavor="custom", plain=is_custom_to_msgspec(cls), inner=inner
            )
        return None

    def _bound(self, tp: Any, at: str, env: Env) -> Any:
        if isinstance(tp, typing.TypeVar):
            if tp not in env:
                raise self.error(
                    at, f"the type variable {tp.__name__} is not bound", "say which type it is, as Box[int]"
                )
            return env[tp]
        if isinstance(tp, (typing.ParamSpec, typing.TypeVarTuple)):
            raise self.error(at, f"{tp.__name__} is not a data type", "use a data type")
        parameters = type_parameters(tp)
        if not parameters or isinstance(tp, self._alias_types):
            return tp
        # a default that names another variable of the class stays in the arguments
        own = environment(getattr(typing.get_origin(tp), "__parameters__", ()), typing.get_args(tp))
        env = {**{name: value for name, value in own.items() if value is not name}, **env}
        return tp[tuple(self._bound(parameter, at, env) for parameter in parameters)]

    def _alias(self, tp: Any, alias: Any, at: str, args: tuple[Any, ...]) -> Node:
        if claimed := self._claimed(tp, at, ENGINES):
            return claimed
        if tp in self._path:
            raise self.error(
                at, f"the alias {tp} refers to itself", "put the recursion into a dataclass, or use Any for free JSON"
            )
        try:
            value = alias.__value__
        except Exception as error:  # an alias is evaluated here for the first time
            raise self.error(
                at, f"the alias {alias} cannot be resolved: {error}", "define or import what it names"
            ) from error
        with self._inside(tp, at):
            node = self.node(value, at, environment(alias.__type_params__, args))
        return msgspec.structs.replace(node, type=tp, alias=alias.__name__)

    @contextmanager
    def _inside(self, tp: Any, at: str) -> Generator[None]:
        """Enter a class or an alias; refuse one that contains itself with ever larger arguments."""
        origin = typing.get_origin(tp)
        if origin is not None:
            sizes = [size_of(outer) for outer in self._path if typing.get_origin(outer) is origin]
            smaller = {largest for largest in itertools.accumulate(sizes, max) if largest < size_of(tp)}
            if len(smaller) >= _GROWTH:
                name = origin.__name__
                raise self.error(
                    at,
                    f"{name} names itself with ever larger arguments, so that it never ends",
                    f"let it name itself with its own parameters, as {name}[T]",
                )
        self._path.append(tp)
        try:
            yield
        finally:
            self._path.pop()

    def _annotated(self, tp: Any, args: tuple[Any, ...], at: str) -> Node:
        if claimed := self._claimed(tp, at, self.engines):  # before servey reads its metadata
            return claimed
        try:
            constraints, description = _constraints.translate(tp.__metadata__)
        except _constraints.UnknownConstraintError as unknown:
            if claimed := self._claimed(tp, at, ENGINES):
                return self._around(claimed, args[0], at)
            raise self.error(
                at,
                f"the constraint {unknown} is not understood",
                "use msgspec.Meta or annotated-types, or check in the action",
            ) from None
        except _constraints.MisplacedError as misplaced:
            raise self.error(at, str(misplaced), misplaced.fix) from None
        node = self.node(args[0], at)
        if constraints:
            node = self._constrained(node, constraints, tp, at)
        extra = {**node.extra, **_constraints.extra(tp.__metadata__)}
        return msgspec.structs.replace(node, type=tp, description=description or node.description, extra=extra)

    def _around(self, node: Node, annotated: Any, at: str) -> Node:
        """Return an engine's node with the annotated type, if servey knows the type and both have the same JSON."""
        try:
            inner = self.node(annotated, at)
        except DefinitionError:
            return node
        kinds = frozenset[str]() if node.inner is None else json_kinds(node.inner)
        is_another = len(kinds) == 1 and kinds != json_kinds(inner)
        return node if is_another else msgspec.structs.replace(node, inner=inner)

    def _constrained(self, node: Node, constraints: Constraints, tp: Any, at: str) -> Node:
        if node.kind == "union":
            # a constraint on Optional[int] is for the int; None is accepted
            parts = [
                item
                if item.cls is type(None)
                else self._constrained(item, constraints, Annotated[item.type, *tp.__metadata__], at)
                for item in node.items
            ]
            return msgspec.structs.replace(node, items=parts, plain=False)
        if node.kind == "custom" and (claimed := self._claimed(tp, at, (*self.engines, *ENGINES))):
            return msgspec.structs.replace(claimed, inner=node.inner or node)
        if name := _constraints.misfit(constraints, node.cls, node.kind):
            limit = getattr(constraints, name)
            lacks_offset = node.cls is datetime.datetime and _constraints.is_naive(limit)
            fix = "give it an offset, as tzinfo=UTC" if lacks_offset else "remove it"
            raise self.error(at, f"the constraint {name}={limit!r} does not fit {shown_type(node.type)}", fix)
        if getattr(node.cls, "__name__", "") == "Decimal":
            constraints = _constraints.exact(constraints)
        try:
            merged = _constraints.joined(constraints, node.constraints)
        except _constraints.UnknownConstraintError as unknown:
            raise self.error(at, str(unknown), "give it once") from None
        return msgspec.structs.replace(node, constraints=merged)

    def _union(self, tp: Any, args: tuple[Any, ...], at: str) -> Node:
        items = [self.node(arg, at) for arg in args if arg is not msgspec.UnsetType]
        if any(item.kind == "any" for item in items):
            return Node("any", Any, location=at)
        if len(items) == 1:
            return items[0]
        return Node("union", tp, typing.Union, at, items=items, plain=all(item.plain for item in items))

    def _literal(self, tp: Any, values: tuple[Any, ...], at: str) -> Node:
        if bad := [wire for wire in wires_of(values) if not is_json_scalar(wire)]:
            raise self.error(at, f"a Literal has {bad[0]!r}, which is not a JSON scalar", "use str or int values")
        if all(value is None or type(value) is str or is_int64(value) for value in values):
            return Node("leaf", tp, typing.Literal, at)
        return Node("custom", tp, typing.Literal, at, custom=choice(tp, values), plain=False)

    def _concrete(self, tp: Any, origin: Any, args: tuple[Any, ...], at: str) -> Node:
        base = origin or tp
        read = self._FORMS.get(origin) or self._COLLECTIONS.get(base)
        if read is not None:
            return read(self, tp, args, at)
        if not isinstance(base, type):
            raise self.error(at, f"{shown_type(tp)} is not a data type", "use a data type, as a dataclass")
        return self._class(tp, base, args, at)

    def _list(self, tp: Any, args: tuple[Any, ...], at: str) -> Node:
        item = self.node(args[0] if args else Any, f"{at}[]")
        base = typing.get_origin(tp) or tp
        cls = LISTS[base]
        if cls in (set, frozenset) and not is_hashable(item):
            raise self.error(f"{at}[]", f"{shown_type(item.type)} is not hashable", "use a list, or make it frozen")
        return Node("list", tp, cls, at, items=[item], plain=item.plain and base not in _CUSTOM_TO_MSGSPEC)

    def _dict(self, tp: Any, args: tuple[Any, ...], at: str) -> Node:
        key, value = args or (Any, Any)
        keys = Node("leaf", str, str, f"{at}.key") if key is Any else self.node(key, f"{at}.key")
        if keys.kind != "leaf" or keys.cls in (type(None), bytes, bytearray):
            raise self.error(
                f"{at}.key", f"{shown_type(key)} cannot be a JSON object's key", "use str, int, an Enum or UUID"
            )
        values = self.node(value, f"{at}{{}}")
        return Node("dict", tp, dict, at, items=[keys, values], plain=values.plain)

    def _tuple(self, tp: Any, args: tuple[Any, ...], at: str) -> Node:
        if not args and tp != tuple[()]:  # each is a new object
            args = (Any, Ellipsis)
        if len(args) == 2 and args[1] is Ellipsis:
            item = self.node(args[0], f"{at}[]")
            return Node("list", tp, tuple, at, items=[item], plain=item.plain)
        if any(map(_is_variadic, args)):
            raise self.error(at, f"{shown_type(tp)} is not a data type", "use tuple[int, str] or tuple[int, ...]")
        items = [self.node(arg, f"{at}[{index}]") for index, arg in enumerate(args)]
        return Node("tuple", tp, tuple, at, items=items, plain=all(item.plain for item in items))

    _FORMS: ClassVar[dict[Any, _Read]] = {
        Annotated: _annotated,
        typing.Union: _union,
        types.UnionType: _union,
        typing.Literal: _literal,
    }
    _COLLECTIONS: ClassVar[dict[Any, _Read]] = {
        **dict.fromkeys(LISTS, _list),
        **dict.fromkeys(DICTS, _dict),
        tuple: _tuple,
    }

    def _class(self, tp: Any, base: Any, args: tuple[Any, ...], at: str) -> Node:
        if tp in self._memo:
            return self._memo[tp]
        if node := self._claimed(tp, at, (*self.engines, *ENGINES)):
            assert node.custom is not None
            if not node.custom.classes and not issubclass(base, enum.Enum):
                self._meet(base)
            self._memo[tp] = node
            return node
        if base in LEAVES:
            return Node("leaf", tp, base, at)
        given = tuple(environment(getattr(base, "__parameters__", ()), args).values())
        if len(given) > len(args):
            return self._class(base[given], base, given, at)
        if issubclass(base, enum.Enum):
            return self._enum(tp, base, at)
        if leaf := custom_scalar(base):
            return Node("custom", tp, base, at, custom=leaf, plain=True)
        node = Node("object", tp, base, base.__name__, key=tp)
        self._memo[tp] = node
        self._meet(base)
        with self._inside(tp, at):
            describe_class(self, node, args, at)
        return node

    def _enum(self, tp: Any, base: type[enum.Enum], at: str) -> Node:
        values = [member.value for member in base]
        if not values:
            raise self.error(at, f"the enum {base.__name__} has no members", "give it some")
        if bad := [value for value in values if not is_json_scalar(value)]:
            raise self.error(
                at, f"the enum {base.__name__} has {bad[0]!r}, which is not a JSON scalar", "use str or int values"
            )
        self._meet(base)
        if not issubclass(base, enum.Flag) and (set(map(type, values)) == {str} or all(map(is_int64, values))):
            return Node("leaf", tp, base, at)
        return Node("custom", tp, base, at, custom=choice(tp, tuple(base)), plain=False)

    def _meet(self, *classes: type) -> None:
        self.classes += [cls for cls in classes if cls not in self.classes]


def _is_variadic(arg: Any) -> bool:
    return arg is Ellipsis or typing.get_origin(arg) is typing.Unpack or getattr(arg, "__unpacked__", False)
