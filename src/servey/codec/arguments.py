"""Read and write an action's arguments as one object: a JSON body, a query string, flags of the command line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from servey.codec.defaults import fresh
from servey.codec.engine import Engine
from servey.codec.node import MISSING, Field, Node, Parameter
from servey.codec.node_codec import REFUSALS, NodeCodec, parsed, parsed_again
from servey.codec.problems import PROBLEM_LIMIT, ResultError, step, unknown
from servey.codec.structs import is_built, reachable
from servey.codec.text import Read, TextError, TextKind, list_reader, reader, single_reader, text_kind
from servey.codec.type_adapter import Compiler
from servey.codec.type_reader import TypeReader
from servey.errors import DefinitionError, InvalidError, MalformedError, Problem

_IN_PATH = "unknown: it is given by the path"


class ArgumentsCodec(NodeCodec[Any]):
    """Reads the arguments of one action into a Struct with one attribute per parameter.

    Args:
        parameters: The action's parameters, without injected ones.
        where: The ``file:line`` of the action, for errors.
        label: The name of the arguments, for errors.
        engines: The engines of plugins, asked before servey's.

    Raises:
        DefinitionError: A parameter's type cannot be served.

    Example:
        >>> codec = ArgumentsCodec([Parameter("name", str)])
        >>> codec.decode_json(b'{"name": "you"}').name
        'you'
    """

    _mode = "input"

    def __init__(
        self,
        parameters: Sequence[Parameter],
        *,
        where: str = "",
        label: str = "the arguments",
        engines: Sequence[Engine] = (),
    ) -> None:
        otherwise = "; or, to have it injected, declare a @resource that yields it"
        types = TypeReader(label, where, engines, otherwise, "input")
        self.parameters: dict[str, tuple[Parameter, Node]] = {}
        root = Node("object", dict, flavor="arguments", location=label)
        refused: list[DefinitionError] = []
        for parameter in parameters:
            name = parameter.name
            try:
                if name.startswith("__"):  # the attributes of classes are called so
                    raise types.error(name, "begins with two underscores", "call it something else")
                node = types.node(parameter.type, name)
                self.parameters[name] = parameter, node
                root.fields.append(_field(parameter, node))
            except ValueError as error:
                refused.append(
                    types.error(name, str(error), "use None as the default, and create the value in the function")
                )
            except DefinitionError as error:
                refused.append(error)
        if refused:
            raise DefinitionError.join(refused)
        self._classes = tuple(types.classes)
        super().__init__(label, root, Compiler(writes_input=True))
        try:
            self.struct: Any = self._text_adapter.input_type
            root.cls = self.struct
            _ = self._compiled_decoder(), self._text_adapter.build  # compiled here
        except (TypeError, ValueError) as error:
            raise DefinitionError(f"{label}: {error}", where=where, fix="use another type") from error
        self._scalars: dict[str, Read] = {}
        self._readers: dict[str, Callable[[list[str]], Any]] = {}
        self._kinds: dict[str, TextKind] = {}
        # the text of a plain scalar is already read as its type
        self._exact = all(
            node.kind == "leaf" and node.cls in (str, int, float, bool) and not node.constraints
            for _, node in self.parameters.values()
        )
        for name, (parameter, node) in self.parameters.items():
            self._kinds[name] = kind = text_kind(node)
            if kind == "list":
                self._readers[name] = list_reader(node)
                continue
            # None is the default, so "null" need not be None
            self._scalars[name] = read = reader(node, says_null=parameter.default is not None)
            self._readers[name] = single_reader(read)

    def text_kind(self, name: str) -> TextKind:
        """Return how a parameter is written as text: plain, repeated, or as one JSON value."""
        return self._kinds[name]

    def decode_json(self, data: bytes, extra: Mapping[str, str | Sequence[str]] | None = None) -> Any:
        """Return the arguments in a JSON object, with the errors of `Codec.decode_json`.

        Args:
            data: The JSON text.
            extra: Further arguments as text (from the path or flags), a repeated one as a sequence; the object must
                not have them, too.
        """
        if extra:
            return self._merged(parsed(data), extra)
        if self._skipped.skips_checks and self._skipped.needs_checks(data):
            return self.decode(parsed(data))
        try:
            return self._text_adapter.build(self._decoder.decode(data))
        except REFUSALS as error:
            return self.decode(parsed_again(data, error))

    def decode_text(
        self,
        pairs: Sequence[tuple[str, str]],
        extra: Mapping[str, str] | None = None,
        ignore_unknown: bool = False,
    ) -> Any:
        """Return the arguments given as text, with the errors of `decode`.

        Args:
            pairs: Names and texts, in order; a list's name is repeated.
            extra: Further arguments (from the path); `pairs` must not have them, too.
            ignore_unknown: Whether unknown names are ignored.
        """
        found: dict[str, Any] = {}
        problems: list[Problem] = []
        lists: dict[str, list[str]] = {}
        scalars = self._scalars
        if extra:
            self._read_texts(extra, found, problems)
        for name, text in pairs:
            if len(problems) >= PROBLEM_LIMIT:
                break
            read = scalars.get(name)
            if read is not None and name not in found:
                try:
                    found[name] = read(text)
                except TextError as error:
                    found[name] = None
                    problems.append(Problem(step("", name), str(error)))
            elif name in self._readers and not (extra and name in extra):
                if read is None:
                    lists.setdefault(name, []).append(text)
                else:
                    problems.append(Problem(step("", name), "given more than once"))
            elif not ignore_unknown:
                is_in_path = extra and name in extra
                problems.append(Problem(step("", name), _IN_PATH if is_in_path else unknown(name, self.parameters)))
        if lists:
            self._read_texts(lists, found, problems)
        if problems:
            raise self._refusal(found, problems)
        if self._exact:
            try:
                return self.struct(**found)
            except TypeError:  # something is missing
                pass
        return self.decode(found)

    def encode_json(self, value: Any, *, is_sorted: bool = False) -> bytes:
        """Return the JSON object from which `decode_json` reads equal arguments.

        A datetime without an offset stays without one. A default that has no JSON of its parameter's type is left out.
        An undecoded ``self`` of a nested action is projected on its class: members that the class does not declare are
        lost. A ``__post_init__`` or a converter runs again when the arguments are read.

        Args:
            value: The arguments, as one of the decoders returned them.
            is_sorted: Whether the members of objects and sets are sorted, so that equal arguments have one text.

        Raises:
            ResultError: An argument does not have its type, or `decode` would read another value: for a secret that
                pydantic masks, or for a class whose JSON looks like that of another class.
        """
        writable = self._without_unwritable(value)
        data = self.encode_sorted(writable) if is_sorted else super().encode_json(writable)
        if not self._is_faithful:
            self._compare(value, lambda: self.decode_json(data))
        return data

    def encode(self, value: Any) -> Any:
        """Return the JSON values from which `decode` reads equal arguments, by the rules of `encode_json`."""
        builtins = super().encode(self._without_unwritable(value))
        if not self._is_faithful:
            self._compare(value, lambda: self.decode(builtins))
        return builtins

    @functools.cached_property
    def _is_faithful(self) -> bool:
        """Whether the types alone guarantee that equal arguments are read: no engine, no unions of look-alikes."""
        from servey.codec.union import is_ambiguous  # for arguments that are written

        return not is_ambiguous(self.root) and all(node.flavor != "custom" for node in reachable(self.root))

    @functools.cached_property
    def _unwritable_defaults(self) -> dict[str, Any]:
        """The defaults that have no JSON of their parameter's type."""
        return {
            field.name: field.default
            for field in self.root.fields
            if field.default is not MISSING and not self._is_writable(field)
        }

    def _is_writable(self, field: Field) -> bool:
        codec: NodeCodec[Any] = NodeCodec(self.label, field.node, self._compiler)
        try:
            return _is_same(codec.decode(codec.encode(field.default)), field.default)
        except (ResultError, InvalidError, MalformedError):
            return False

    def _without_unwritable(self, arguments: Any) -> Any:
        left_out = {
            name: UNSET
            for name, default in self._unwritable_defaults.items()
            if _is_same(getattr(arguments, name), default)
        }
        return msgspec.structs.replace(arguments, **left_out) if left_out else arguments

    def _compare(self, arguments: Any, read: Callable[[], Any]) -> None:
        """Raise a `ResultError` if other arguments would be read."""
        try:
            found = read()
        except (InvalidError, MalformedError) as error:
            raise ResultError(self.label, error.errors) from None
        changed = [
            Problem(step("", name), "another value is read from its JSON")
            for name in self.parameters
            if not _is_same(getattr(arguments, name), getattr(found, name))
        ]
        if changed:
            raise ResultError(self.label, changed)

    def _merged(self, body: Any, extra: Mapping[str, str | Sequence[str]]) -> Any:
        if not isinstance(body, dict):
            return self.decode(body)
        members: dict[str, Any] = dict(body)  # pyright: ignore[reportUnknownArgumentType]
        problems: list[Problem] = []
        for name in extra:
            if name in members:
                del members[name]
                problems.append(Problem(step("", name), _IN_PATH))
        self._read_texts(extra, members, problems)
        if problems:
            raise self._refusal(members, problems)
        return self.decode(members)

    def _read_texts(
        self, given: Mapping[str, str | Sequence[str]], found: dict[str, Any], problems: list[Problem]
    ) -> None:
        for name, texts in given.items():
            if name not in self._readers:
                problems.append(Problem(step("", name), unknown(name, self.parameters)))
                continue
            try:
                found[name] = self._readers[name]([texts] if isinstance(texts, str) else list(texts))
            except TextError as error:
                found[name] = None
                problems.append(Problem(step("", name), str(error)))

    def _refusal(self, found: Any, problems: list[Problem]) -> InvalidError:
        """Return the error with all problems: of the texts, and of decoding the texts that could be read."""
        reported = {problem.path for problem in problems}
        try:
            self.decode(found)
        except InvalidError as error:
            problems += [
                p for p in error.errors if not any(p.path == t or p.path.startswith(t + "/") for t in reported)
            ]
        return InvalidError(errors=problems[:PROBLEM_LIMIT])


def _field(parameter: Parameter, node: Node) -> Field:
    """Return a parameter as a member of the arguments; raise a `ValueError` for a default that cannot be copied."""
    default = parameter.default
    factory = fresh(default)
    if factory is None and is_built(node) and default is not MISSING and default is not UNSET:
        factory = lambda: default  # noqa: E731 - only the Struct of the arguments needs it
    name, description = parameter.name, parameter.description or node.description
    return Field(name, name, node, default is MISSING, default, factory, description)


def _is_same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is type(other) and bool(value == other))
