"""The members of a class of any kind, and the functions that read them from an object."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from servey.codec import MISSING, Codec, Engine, Node, SchemaMode, rows
from servey.codec.engine import CustomMember
from servey.codec.type_reader import TypeReader
from servey.errors import DefinitionError

_SIDES: tuple[Literal["input"], Literal["output"]] = ("input", "output")


class Member(msgspec.Struct):
    """One member.

    Args:
        name: The attribute, or the key of a TypedDict.
        node: Its type.
        input_name: Its name in the JSON of arguments; None if arguments do not have it.
        output_name: Its name in the JSON of results; None if results do not have it.
        required: Whether callers must send it.
        default: Its default; `MISSING` if there is none, or if a factory makes it.
        factory: The function that makes the default.
        description: Its description.
        may_be_absent: Whether an object may lack it.
    """

    name: str
    node: Node
    input_name: str | None
    output_name: str | None
    required: bool = True
    default: Any = MISSING
    factory: Any = None
    description: str = ""
    may_be_absent: bool = False


def is_class(node: Node) -> bool:
    """Whether a type is a class whose members are known."""
    return node.kind == "object" or node.flavor == "namedtuple" or is_custom_class(node)


def is_custom_class(node: Node) -> bool:
    """Whether an engine knows the members of a class."""
    return node.custom is not None and node.custom.members is not None


def members_of(node: Node, engines: Sequence[Engine], where: str, side: SchemaMode) -> list[Member]:
    """Return the members of a class; for an engine's class, those of one side.

    Args:
        node: The class.
        engines: The engines of the service, for the types of an engine's members.
        where: The place of the declaration, for errors.
        side: ``"input"`` for the members of arguments, ``"output"`` for those of results.

    Raises:
        DefinitionError: A member of an engine's class has a type that servey cannot serve.
    """
    if node.custom is not None and node.custom.members is not None:
        reader = TypeReader(node.location, where, engines, side=side)
        return [
            Member(
                item.name,
                reader.node(_known_type(item), f"{node.location}.{item.name}"),
                item.input_name,
                item.output_name,
                item.required,
                MISSING if item.default is msgspec.UNSET else item.default,
                description=item.description,
            )
            for item in node.custom.members()
            if (item.input_name if side == "input" else item.output_name) is not None
        ]
    return [
        Member(
            field.name,
            field.node,
            field.wire,
            field.wire,
            field.required,
            field.default,
            field.default_factory,
            field.description,
            field.default is msgspec.UNSET or (node.flavor == "typeddict" and not field.required),
        )
        for field in node.fields
    ]


def _known_type(member: CustomMember) -> Any:
    """Return the type of a member, with the member's own engine if servey does not know the type."""
    if member.own_engine is None:
        return member.type
    try:
        for side in _SIDES:
            TypeReader("", "", (), side=side).node(member.type, "")
    except DefinitionError:
        return Annotated[member.type, member.own_engine]
    return member.type


def reader_of(owner: Node, member: Member) -> Callable[..., Any]:
    """Return a function that reads a member of an object or of a row; it ignores a second argument."""
    name, key = member.name, member.output_name
    if owner.flavor == "typeddict":

        def read_key(source: Any, _info: Any = None) -> Any:
            return source.get(name)

        return read_key

    def of_row(source: Any) -> Any:
        value = rows.member(source, name, key or name)
        if value is rows.ABSENT:
            value = member.default if member.factory is None else member.factory()
        return None if value is msgspec.UNSET or value is MISSING else value

    # Python's compiler changes names that are not ASCII (NFKC)
    is_plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    if member.may_be_absent or not is_plain or hasattr(dict, name):

        def read_odd(source: Any, _info: Any = None) -> Any:
            return of_row(source)

        return read_odd
    namespace: dict[str, Any] = {"of_row": of_row}
    # three times as fast as getattr
    exec(
        f"""def read(source, _info=None):
    if isinstance(source, dict):
        return of_row(source)
    try:
        return source.{name}
    except AttributeError:
        return of_row(source)""",
        namespace,
    )
    return namespace["read"]


def encoded(codec: Codec[Any], read: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reader whose values a codec encodes."""
    encode = codec.encode

    def read_encoded(source: Any, _info: Any = None) -> Any:
        value = read(source)
        return None if value is None else encode(value)

    return read_encoded
