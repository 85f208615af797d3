"""The tree of nodes that describes a type.

`type_reader.py` makes it once. Everything that reads, writes or describes a type uses it, so that all agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar, get_args

import msgspec

from servey.codec.engine import CustomType

Kind = Literal["any", "leaf", "list", "tuple", "dict", "object", "union", "custom"]
"""The kinds of nodes; see `Node`."""

T = TypeVar("T")

Flavor = Literal["dataclass", "attrs", "struct", "typeddict", "namedtuple", "custom", "arguments", ""]
"""The library or form of a class, which determines how instances are built and read."""


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""The default of a field or a parameter that has none."""


class Constraints(msgspec.Struct, frozen=True):
    """Limits of the values of a type; `None` means no limit.

    Bounds compare with the value itself, lengths count characters, bytes or members, `pattern` is searched for
    (not anchored), and a datetime must have an offset if `tz` is True, and none if it is False.
    """

    gt: Any = None
    ge: Any = None
    lt: Any = None
    le: Any = None
    multiple_of: Any = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    tz: bool | None = None

    def items(self) -> list[tuple[str, Any]]:
        """Return the constraints that are set, as (name, value)."""
        return [(name, value) for name in self.__struct_fields__ if (value := getattr(self, name)) is not None]

    def __bool__(self) -> bool:
        return self != _UNLIMITED


_UNLIMITED = Constraints()


class Field(msgspec.Struct, eq=False):
    """One member of a class: its attribute (or key), its name in JSON, and in the constructor if that is another one.

    `default_factory` makes the default, where a function does or a copy is needed (`servey.codec.defaults`).
    """

    name: str
    wire: str
    node: Node
    required: bool = True
    default: Any = MISSING
    default_factory: Callable[[], Any] | None = None
    description: str = ""
    alias: str = ""

    @property
    def argument(self) -> str:
        """The name in the constructor: attrs strips underscores."""
        return self.alias or self.name


class Node(msgspec.Struct, eq=False):
    """One place of a type.

    kind        cls                                   items                 fields
    any         object
    leaf        the scalar, the Enum or `Literal`
    list        list, set, frozenset, tuple, deque    [the member]
    tuple       tuple, or the NamedTuple              one per position      of a NamedTuple
    dict        dict                                  [the key, the value]
    object      the class                                                   its members
    union       `Union`                               the members
    custom     the class, or object                                        (`custom` knows the type)

    Args:
        type: The type as declared, aliases and `Annotated` included.
        location: The place for messages: ``User.tags[]``.
        custom: How an engine reads, writes and describes it.
        alias: The name of the outermost NewType or type alias.
        extra: Further keywords for the schema from the annotation's metadata: a title, examples.
        tag: The (member, value) that a tagged Struct has in JSON.
        checked: Whether building the class runs checks of the user (``__post_init__``, validators).
        inner: The annotated type of an annotated custom type; it decides how its text is read.
        plain: Whether msgspec can build the value of the declared type from an input struct of it.
        key: Shared by all nodes of one class.
    """

    kind: Kind
    type: Any
    cls: Any = object
    location: str = ""
    items: list[Node] = msgspec.field(default_factory=list["Node"])
    fields: list[Field] = msgspec.field(default_factory=list[Field])
    flavor: Flavor = ""
    custom: CustomType | None = None
    constraints: Constraints = Constraints()
    alias: str = ""
    description: str = ""
    extra: Mapping[str, Any] = MappingProxyType({})
    tag: tuple[str, Any] | None = None
    checked: bool = False
    inner: Node | None = None
    plain: bool = True
    key: object = None

    @property
    def optional(self) -> bool:
        """Whether null is one of the values."""
        return self.kind == "any" or self.cls is type(None) or any(item.optional for item in self.members)

    @property
    def members(self) -> list[Node]:
        """The members of a union; none for any other kind."""
        return self.items if self.kind == "union" else []

    @property
    def not_null(self) -> list[Node]:
        """The parts of the type except null."""
        return [item for item in self.items if item.cls is not type(None)]

    def is_tagged_in(self, members: Mapping[Any, Any]) -> bool:
        """Return whether a JSON object has the tag of this class."""
        return self.tag is not None and members.get(self.tag[0]) == self.tag[1]

    @property
    def identity(self) -> object:
        """One key for all nodes of the same class, which share their `fields`."""
        return self.key if self.key is not None else id(self)


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of an action, with the description for the schema. The default is any object, as in Python."""

    name: str
    type: Any
    default: Any = MISSING
    description: str = ""


class NodeVisitor(Generic[T]):
    """Calls the method for the kind of a node, as `ast.NodeVisitor` does for syntax trees.

    A subclass has a method per kind, such as ``visit_list``, and ``visit_other`` for the other kinds. Each takes the
    node and the further arguments of `visit`.
    """

    _methods: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls) -> None:
        other = getattr(cls, "visit_other", None)
        cls._methods = {kind: getattr(cls, f"visit_{kind}", other) for kind in get_args(Kind)}

    def visit(self, node: Node, *given: Any) -> T:
        """Return the result of the method for the node's kind."""
        return self._methods[node.kind](self, node, *given)
