"""Read and write an action's arguments as one object: a JSON body, a query string, flags of the command line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from servey.codec.decode_errors import REFUSALS, parsed, parsed_again, refused_value
from servey.codec.defaults import fresh
from servey.codec.engine import Engine, SchemaMode
from servey.codec.node import MISSING, Field, Node, Parameter
from servey.codec.numbers import whole_value
from servey.codec.pointer import step
from servey.codec.problems import PROBLEM_LIMIT, unknown
from servey.codec.structs import hook
from servey.codec.text import Read, TextError, TextKind, list_reader, reader, text_kind
from servey.codec.type_adapter import ArgumentStruct, Compiler, SkippedChecks
from servey.codec.type_reader import TypeReader
from servey.errors import DefinitionError, InvalidError, Problem

if TYPE_CHECKING:
    from servey.codec.arguments_writer import ArgumentsWriter


class ArgumentsCodec:
    """Reads the arguments of one action into a Struct with one attribute per parameter.

    Args:
        parameters: The action's parameters, without injected ones.
        where: Where the action is declared, as ``file:line``, for errors.
        label: Whose arguments they are, for errors.
        engines: A plugin's own, asked before servey's.

    Raises:
        DefinitionError: A parameter's type cannot be served.

    Example:
        >>> codec = ArgumentsCodec([Parameter("name", str)])
        >>> codec.decode_json(b'{"name": "you"}').name
        'you'
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        *,
        where: str = "",
        label: str = "the arguments",
        engines: Sequence[Engine] = (),
    ) -> None:
        self.label = label
        otherwise = "; or, to have it injected, declare a @resource that yields it"
        types = TypeReader(label, where, engines, otherwise, "input")
        self.parameters: dict[str, tuple[Parameter, Node]] = {}
        copies: dict[str, Callable[[], Any] | None] = {}
        refused: list[DefinitionError] = []
        for parameter in parameters:
            try:
                if parameter.name.startswith("__"):  # the attributes of classes are called so
                    raise types.error(parameter.name, "begins with two underscores", "call it something else")
                self.parameters[parameter.name] = parameter, types.node(parameter.type, parameter.name)
                copies[parameter.name] = fresh(parameter.default)
            except ValueError as error:
                refused.append(
                    types.error(
                        parameter.name, str(error), "use None as the default, and create the value in the function"
                    )
                )
            except DefinitionError as error:
                refused.append(error)
        if refused:
            raise DefinitionError.join(refused)
        self._classes = tuple(types.classes)
        self._compiler = Compiler(writes_input=True)
        self.root = self._root()
        self._skipped = SkippedChecks.of(self.root)
        try:
            self._from_text = ArgumentStruct(self.parameters, copies, self._compiler, self._skipped.skips_checks)
            self.struct: Any = self._from_text.struct
            self._decoder = msgspec.json.Decoder(self.struct, dec_hook=hook, float_hook=self._skipped.float_hook)
        except (TypeError, ValueError) as error:
            raise DefinitionError(f"{label}: {error}", where=where, fix="use another type") from error
        self._scalars: dict[str, Read] = {}
        self._lists: dict[str, Callable[[list[str]], Any]] = {}
        self._kinds: dict[str, TextKind] = {}
        # the text of a plain scalar is already read as its type
        self._exact = all(
            node.kind == "leaf" and node.cls in (str, int, float, bool) and not node.constraints
            for _, node in self.parameters.values()
        )
        for name, (parameter, node) in self.parameters.items():
            self._kinds[name] = kind = text_kind(node)
            if kind == "list":
                self._lists[name] = list_reader(node)
            else:
                # None is the default, so "null" need not be None
                self._scalars[name] = reader(node, says_null=parameter.default is not None)

    def classes(self) -> tuple[type, ...]:
        """Return every class met in the parameters' types, in order of meeting."""
        return self._classes

    def text_kind(self, name: str) -> TextKind:
        """Return how a parameter is written as text: plain, repeated, or as one JSON value."""
        return self._kinds[name]

    def decode_json(self, data: bytes, extra: Mapping[str, str | Sequence[str]] | None = None) -> Any:
        """Return the arguments in a JSON object.

        Args:
            data: The JSON text.
            extra: Arguments given as text elsewhere (the path, flags), a repeated one as a sequence; the object must
                not name them again.

        Raises:
            MalformedError: It is no JSON, not UTF-8, or nested too deeply.
            InvalidError: Some argument is wrong, missing or unknown; has every problem.
        """
        if extra:
            return self._merged(parsed(data), extra)
        if self._skipped.skips_checks and self._skipped.needs_checks(data):
            return self.decode(parsed(data))
        try:
            return self._from_text.build(self._decoder.decode(data))
        except REFUSALS as error:
            return self.decode(parsed_again(data, error))

    def decode(self, builtins: Any) -> Any:
        """Return the arguments in parsed JSON.

        Args:
            builtins: A dict, keyed by parameter.

        Raises:
            MalformedError: It is nested too deeply.
            InvalidError: Some argument is wrong, missing or unknown; has every problem.
        """
        shape = self._from_values
        try:
            return shape.build(msgspec.convert(builtins, shape.struct, str_keys=True, dec_hook=hook))
        except REFUSALS as error:
            if (whole := whole_value(self.root, builtins)) is not None:
                return self.decode(whole)
            raise refused_value(self._compiler, self.root, builtins, error) from None

    def decode_text(
        self,
        pairs: Sequence[tuple[str, str]],
        extra: Mapping[str, str] | None = None,
        ignore_unknown: bool = False,
    ) -> Any:
        """Return the arguments given as text.

        Args:
            pairs: Names and texts, in order; a list's name is repeated.
            extra: Arguments given elsewhere (the path); `pairs` must not name them again.
            ignore_unknown: Whether unknown names are ignored.

        Raises:
            MalformedError: Some JSON value is nested too deeply.
            InvalidError: Some argument is wrong, missing or unknown; has every problem.
        """
        found: dict[str, Any] = {}
        problems: list[Problem] = []
        lists: dict[str, list[str]] = {}
        scalars = self._scalars
        if extra:
            self._read_rest({}, extra, found, problems)
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
            elif name in self._lists and not (extra and name in extra):
                lists.setdefault(name, []).append(text)
            elif read is not None and not (extra and name in extra):
                problems.append(Problem(step("", name), "given more than once"))
            elif not ignore_unknown:
                problems.append(Problem(step("", name), self._unknown(name, extra)))
        if lists:
            self._read_rest(lists, {}, found, problems)
        if problems:
            raise self._refusal(found, problems)
        if self._exact:
            try:
                return self.struct(**found)
            except TypeError:  # something is missing
                pass
        return self.decode(found)

    def json_schema(self, mode: SchemaMode = "input") -> dict[str, Any]:
        """Return the JSON schema (2020-12) of the arguments as one object.

        Args:
            mode: Whether classes are described as they are sent or as they are got.
        """
        from servey.codec.schema import DIALECT, SchemaWriter  # for documentation only

        writer = SchemaWriter(mode)
        schema = {"$schema": DIALECT, **writer.object(self.root.fields)}
        return {**schema, "$defs": writer.definitions} if writer.definitions else schema

    def encode_json(self, arguments: Any, *, is_sorted: bool = False) -> bytes:
        """Return the JSON object from which `decode_json` reads equal arguments.

        A datetime without an offset stays without one. A default that has no JSON of its parameter's type is left out.
        An undecoded ``self`` of a nested action is projected on its class: members that the class does not declare are
        lost. A ``__post_init__`` or a converter runs again when the arguments are read.

        Args:
            arguments: What one of the decoders returned.
            is_sorted: Whether the members of objects and sets are sorted, so that equal arguments have one text.

        Raises:
            ResultError: An argument is not of its type, or another value would be read: a secret that pydantic masks,
                an object of the second of two classes that look alike.
        """
        writable = self._writer.without_unwritable(arguments)
        data = self._writer.encode_sorted(writable) if is_sorted else self._writer.encode_json(writable)
        if not self._writer.is_faithful:
            self._writer.compare(arguments, lambda: self.decode_json(data))
        return data

    def encode(self, arguments: Any) -> Any:
        """Return the JSON values from which `decode` reads equal arguments, by the rules of `encode_json`.

        Raises:
            ResultError: As for `encode_json`.
        """
        builtins = self._writer.encode(self._writer.without_unwritable(arguments))
        if not self._writer.is_faithful:
            self._writer.compare(arguments, lambda: self.decode(builtins))
        return builtins

    @functools.cached_property
    def _writer(self) -> ArgumentsWriter:
        from servey.codec.arguments_writer import ArgumentsWriter  # for arguments that are written

        return ArgumentsWriter(self.label, self.root, self._compiler, self._skipped)

    @functools.cached_property
    def _from_values(self) -> ArgumentStruct:
        if not self._skipped.skips_checks:
            return self._from_text
        return ArgumentStruct(self.parameters, self._from_text.copies, self._compiler, skips_checks=False)

    def _root(self) -> Node:
        root = Node("object", dict, _Arguments, self.label)
        for name, (parameter, node) in self.parameters.items():
            required = parameter.default is MISSING
            description = parameter.description or node.description
            root.fields.append(Field(name, name, node, required, parameter.default, None, description))
        return root

    def _merged(self, body: Any, extra: Mapping[str, str | Sequence[str]]) -> Any:
        if not isinstance(body, dict):
            return self.decode(body)
        members: dict[str, Any] = dict(body)  # pyright: ignore[reportUnknownArgumentType]
        problems: list[Problem] = []
        for name in extra:
            if name in members:
                del members[name]
                problems.append(Problem(step("", name), "unknown: it is given by the path"))
        self._read_rest({}, extra, members, problems)
        if problems:
            raise self._refusal(members, problems)
        return self.decode(members)

    def _read_rest(
        self,
        lists: Mapping[str, list[str]],
        extra: Mapping[str, str | Sequence[str]],
        found: dict[str, Any],
        problems: list[Problem],
    ) -> None:
        for name, given in (*lists.items(), *extra.items()):
            read = self._scalars.get(name)
            try:
                if read is not None and isinstance(given, str):
                    found[name] = read(given)
                elif name in self._lists:
                    found[name] = self._lists[name]([given] if isinstance(given, str) else list(given))
                elif read is None:
                    problems.append(Problem(step("", name), unknown(name, self.parameters)))
                elif len(given) == 1:
                    found[name] = read(given[0])
                else:
                    found[name] = None
                    problems.append(Problem(step("", name), "given more than once"))
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

    def _unknown(self, name: str, extra: Mapping[str, str] | None) -> str:
        if extra and name in extra:
            return "unknown: it is given by the path"
        return unknown(name, self.parameters)


class _Arguments:
    """Holds arguments while their problems are looked for."""

    def __init__(self, **members: Any) -> None:
        pass
