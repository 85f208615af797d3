"""Actions: plain typed functions, declared once, and the operation that every transport calls.

The decorator is `servey.action.action.action`. It has the name of this package, so it is not re-exported here.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn


class _Package(ModuleType):
    """Explains the mistake of using the package as the decorator."""

    def __call__(self, *arguments: Any, **named: Any) -> NoReturn:
        raise TypeError("servey.action is a package; the decorator is: from servey.action.action import action")


sys.modules[__name__].__class__ = _Package
