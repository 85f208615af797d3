"""Parse, validate and measure each document once, with a cache of the documents that were used last."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from sys import getsizeof
from typing import Any

import msgspec
from cachetools import LRUCache
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    ValidationContext,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.validate import ValidationAbortedError

from servey.errors import SettingsError
from servey.schema.graphql.errors import UnknownDocumentError
from servey.servey_strawberry.errors import MOST_ERRORS
from servey.servey_strawberry.query_complexity import ComplexityMeasurer, introspection_field, over_limits
from servey.servey_strawberry.settings import GraphQLSettings
from servey.settings import Settings

MOST_BYTES = 32 * 1024 * 1024
"""The approximate maximum memory of all cached documents, and also of the texts that clients have registered."""

_BYTES_PER_TOKEN = 800
"""The memory of a document per token: measured 460 to 820."""

CHARACTERS_PER_TOKEN = 50
"""The maximum length of a document, per token that the settings allow: a string or a comment of a million characters is
one token, and takes half a second to read."""

MOST_COMPARED = 20_000
"""The maximum number of comparisons of fields with the same name, in graphql-core's units: two for a pair.

graphql-core's limit of 500,000 blocks the event loop for most of a second. A document without repetition needs a few
hundred, a document with fifty fragments a few thousand.
"""


class DocumentError(Exception):
    """The document of a request cannot be executed.

    Args:
        errors: The reasons.
    """

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        self.errors = errors
        super().__init__("; ".join(error.message for error in errors))


class Document(msgspec.Struct, frozen=True):
    """A valid document within the limits.

    Args:
        ast: The document.
        size: Its approximate memory in bytes.
        operations: Its operations by name; an unnamed operation has an empty name.
        introspects: Whether it has an introspection field.
        calls: The largest number of fields that call an action, in one operation.
    """

    ast: DocumentNode
    size: int
    operations: Mapping[str, OperationDefinitionNode]
    introspects: bool
    calls: int = 0

    def operation(self, operation_name: str | None) -> OperationDefinitionNode | None:
        """Return the operation of a name, or the only operation; None if this is not exactly one."""
        if operation_name is not None:
            return self.operations.get(operation_name)
        return next(iter(self.operations.values())) if len(self.operations) == 1 else None


class Documents:
    """The documents of one schema.

    Args:
        schema: The schema.
        settings: The limits, and the file of persisted documents.

    Raises:
        SettingsError: The persisted documents cannot be read, or one of them does not fit the schema.
    """

    def __init__(self, schema: GraphQLSchema, settings: Settings) -> None:
        self._schema, self._settings = schema, settings
        self._limits = settings.part(GraphQLSettings)
        self._cached: LRUCache[str, Document] = LRUCache(MOST_BYTES, getsizeof=_size)
        self._registered: LRUCache[str, str] = LRUCache(MOST_BYTES, getsizeof=getsizeof)
        self._lock = threading.Lock()  # there may be several event loops
        problems: list[str] = []
        self._trusted: dict[str, Document] = {}
        for identifier, source in _persisted(self._limits.graphql_documents).items():
            try:
                self._trusted[identifier] = self._read(source)
            except DocumentError as error:
                problems.append(f"{identifier}: {error}")
        if problems:
            raise SettingsError(
                "SERVEY_GRAPHQL_DOCUMENTS has documents that cannot be executed:\n" + "\n".join(problems)
            )

    def find(self, source: str | None, identifier: str | None) -> Document:
        """Return the document of a request.

        Args:
            source: The text of the document.
            identifier: The name of a persisted document, or the SHA-256 of a text in hexadecimal digits.

        Raises:
            DocumentError: The document is not valid, or exceeds a limit.
            UnknownDocumentError: The document is unknown, or only persisted ones are executed.
        """
        trusted = None if identifier is None else self._trusted.get(_plain(identifier))
        if trusted is not None:
            return trusted
        if self._limits.graphql_only_documents:
            raise UnknownDocumentError("this service executes only persisted documents: send the id of a document")
        if source is None:
            with self._lock:
                known = self._registered.get(_plain(identifier or ""))
            if known is None:
                raise UnknownDocumentError("PersistedQueryNotFound")
            return self.read(known)
        document = self.read(source)
        if identifier is not None:
            # after the validation, so that only valid documents take memory
            if hashlib.sha256(source.encode()).hexdigest() != _plain(identifier):
                raise DocumentError([GraphQLError("the SHA-256 of the document differs from the hash in the request")])
            with self._lock, suppress(ValueError):
                self._registered[_plain(identifier)] = source
        return document

    def knows(self, identifier: str | None) -> bool:
        """Whether an identifier belongs to a persisted document."""
        return identifier is not None and _plain(identifier) in self._trusted

    def read(self, source: str) -> Document:
        """Return the document of a text.

        Raises:
            DocumentError: The document is not valid, or exceeds a limit.
        """
        with self._lock:
            found = self._cached.get(source)
        if found is None:
            found = self._read(source)
            # with higher limits, a document may be larger than the cache
            with self._lock, suppress(ValueError):
                self._cached[source] = found
        return found

    def _read(self, source: str) -> Document:
        settings = self._settings
        hide = settings.production
        most = settings.part(GraphQLSettings).graphql_max_tokens * CHARACTERS_PER_TOKEN
        if len(source) > most:
            raise DocumentError([GraphQLError(f"the document has {len(source)} characters; the limit is {most}")])
        try:
            ast = parse(source, max_tokens=settings.part(GraphQLSettings).graphql_max_tokens)
        except GraphQLError as error:
            raise DocumentError([error]) from None
        except RecursionError:
            raise DocumentError([GraphQLError("the document is nested too deeply")]) from None
        measurer = ComplexityMeasurer(self._schema, ast)
        operations = [item for item in ast.definitions if isinstance(item, OperationDefinitionNode)]
        measured = [measurer.measure(item) for item in operations]
        errors = [
            error
            for item, measure in zip(operations, measured, strict=True)
            for error in over_limits(measure, settings, item)
        ]
        if errors:
            raise DocumentError(errors)
        errors = validate(self._schema, ast, _RULES, max_errors=MOST_ERRORS, hide_suggestions=hide)
        if errors:
            raise DocumentError([_explained(error, self._schema, hide_suggestions=hide) for error in errors])
        return Document(
            ast,
            ast.token_count * _BYTES_PER_TOKEN + len(source) * 4 + 2000,
            {item.name.value if item.name else "": item for item in operations},
            introspection_field(ast) is not None,
            max((measure.calls for measure in measured), default=0),
        )


class _OverlappingFieldsRule(OverlappingFieldsCanBeMergedRule):
    """The rule (GraphQL §5.3.2) with servey's limit."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        compared: Any = self.rule_context
        compared.remaining_complexity_budget = MOST_COMPARED


_RULES = tuple(_OverlappingFieldsRule if rule is OverlappingFieldsCanBeMergedRule else rule for rule in specified_rules)


_AT_ROOT = re.compile(r"Cannot query field '(\w+)' on type '(Query|Mutation)'")


def _explained(error: GraphQLError, schema: GraphQLSchema, *, hide_suggestions: bool) -> GraphQLError:
    """Return an error of validation, with a better message if servey has one."""
    found = None if hide_suggestions else _AT_ROOT.match(error.message)
    if found is not None:
        name, root = found.groups()
        is_query = root == "Mutation"
        other = schema.query_type if is_query else schema.mutation_type
        if other is not None and name in other.fields:
            kind = "query" if is_query else "mutation"
            return GraphQLError(f"{name} is a {kind}: ask for it in one, {kind} {{ {name} … }}", error.nodes)
    if isinstance(error, ValidationAbortedError) and not error.message.startswith("Too many"):
        return GraphQLError("the document repeats its fields too often, or nests its fragments too deeply")
    return error


def _size(document: Document) -> int:
    return document.size


def _plain(identifier: str) -> str:
    return identifier.removeprefix("sha256:").lower() if identifier[:7] == "sha256:" else identifier


def _persisted(path: str) -> Mapping[str, str]:
    """Return the documents of a file by their names.

    Raises:
        SettingsError: The file cannot be read, or has no such documents.
    """
    if not path:
        return {}
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, str])
    except OSError as error:
        raise SettingsError(f"SERVEY_GRAPHQL_DOCUMENTS is {path!r}: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise SettingsError(
            f"SERVEY_GRAPHQL_DOCUMENTS is {path!r}, which is not a JSON object of documents by their hashes: {error}"
        ) from error
    return {_plain(identifier): source for identifier, source in found.items()}
