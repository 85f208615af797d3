"""The engines that come with servey, in the order in which they are asked."""

from __future__ import annotations

from servey.codec.engine import Engine
from servey.codec.marshy_engine import MarshyEngine
from servey.codec.pydantic_engine import PydanticEngine

ENGINES: tuple[Engine, ...] = (MarshyEngine(), PydanticEngine())
