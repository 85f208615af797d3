"""Types and JSON: read, write and describe the declared types, equally in every transport.

`Codec` is one type's, `ArgumentsCodec` that of an action's parameters; ``docs/types.md`` has the one table of
what each type looks like as JSON, as text and in a schema.
"""

from servey.codec.arguments import ArgumentsCodec
from servey.codec.codec import Codec
from servey.codec.engine import CustomType, Engine, SchemaMode
from servey.codec.jsonable import to_jsonable
from servey.codec.node import MISSING, Constraints, Field, Node, Parameter
from servey.codec.problems import ResultError

__all__ = [
    "MISSING",
    "ArgumentsCodec",
    "Codec",
    "Constraints",
    "CustomType",
    "Engine",
    "Field",
    "Node",
    "Parameter",
    "ResultError",
    "SchemaMode",
    "to_jsonable",
]
