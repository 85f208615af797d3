"""The engines that come with servey, in the order in which they are asked.

Here each engine only recognizes its types. Its other module is imported for the first type that it claims.
"""

from __future__ import annotations

import sys
import typing
from typing import Any

from servey.codec.engine import CustomType, Engine

_PYDANTIC_MARKS = ("__pydantic_core_schema__", "__get_pydantic_core_schema__", "__pydantic_fields__")
_MARSHY_MARKS = ("__marshaller_factory__", "__schema_factory__")


class MarshyEngine:
    """Claims classes with a ``__marshaller_factory__`` or a ``__schema_factory__``."""

    def claim(self, tp: Any, /) -> CustomType | None:
        """Return the custom type of a class of marshy."""
        cls = typing.get_origin(tp) or tp
        if not isinstance(cls, type) or not any(hasattr(cls, name) for name in _MARSHY_MARKS):
            return None
        from servey.codec.marshy_engine import marshy_type

        return marshy_type(tp, cls)


class PydanticEngine:
    """Claims pydantic's models, its dataclasses and types, and `Annotated` with what only pydantic knows."""

    def claim(self, tp: Any, /) -> CustomType | None:
        """Return the custom type of a type of pydantic."""
        if "pydantic" not in sys.modules:  # a type that needs it has imported it
            return None
        cls = typing.get_origin(tp) or tp
        marked = isinstance(cls, type) and any(hasattr(cls, name) for name in _PYDANTIC_MARKS)
        marked = marked or getattr(tp, "__module__", "") == "pydantic.types"  # its JsonValue is an alias
        if cls is not typing.Annotated and not marked:
            return None
        from servey.codec.pydantic_engine import pydantic_type

        return pydantic_type(tp)


ENGINES: tuple[Engine, ...] = (MarshyEngine(), PydanticEngine())
