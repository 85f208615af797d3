"""The arguments of a nested action whose object exists already."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from servey.action.signature import ActionSignature
from servey.codec import ArgumentsCodec, Codec, Engine, ResultError
from servey.errors import CallError, InternalError

_log = logging.getLogger("servey.operation")


class NestedArguments:
    """Decodes the arguments of a nested action, except ``self``.

    Args:
        signature: The signature of the action.
        arguments: Its arguments, with ``self``.
        engines: The codec engines of plugins.
    """

    def __init__(self, signature: ActionSignature, arguments: ArgumentsCodec, engines: Sequence[Engine]) -> None:
        self._signature, self._arguments, self._engines = signature, arguments, engines

    def decode(self, owner: Any, builtins: Any) -> Any:
        """Return the arguments; `servey.action.operation.Operation.decode_for` describes it."""
        codec = self._others
        given = {self._signature.parameters[0].name: self._object_of(owner) if isinstance(owner, dict) else owner}
        if builtins or codec.parameters:
            others = codec.decode(builtins)
            for name in codec.parameters:
                given[name] = getattr(others, name)
        return self._arguments.struct(**given)

    def _object_of(self, row: Any) -> Any:
        """Return the object for a dict that an action returned instead of it: a dict has no methods."""
        try:
            return self._owner.decode(self._owner.encode(row))
        except (CallError, ResultError) as error:
            name = self._signature.name
            _log.error("%s: a dict cannot be read as an object: %s", name, error, extra={"action": name})
            raise InternalError from error

    @cached_property
    def _owner(self) -> Codec[Any]:
        """The codec of the objects of the nested action; made when first needed."""
        label, (_, node) = next(iter(self._arguments.parameters.items()))
        return Codec(node.type, where=self._signature.action.where, label=label, engines=self._engines)

    @cached_property
    def _others(self) -> ArgumentsCodec:
        """The codec of the arguments without ``self``; made when first needed."""
        return ArgumentsCodec(
            self._signature.parameters[1:],
            where=self._signature.action.where,
            label=f"the arguments of {self._signature.name}",
            engines=self._engines,
        )
