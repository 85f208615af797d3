"""Types and JSON: read, write and describe the declared types, by the same rules in every transport.

`Codec` is for one type, `ArgumentsCodec` for the parameters of an action; ``docs/types.md`` has the table of types.
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
