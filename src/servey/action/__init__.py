"""Actions: plain typed functions declared once, and the one operation through which everything calls them.

The decorator lives in `servey.action.action` and has the package's own name, so it is not re-exported here.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn


class _Package(ModuleType):
    """Tells those who took the package for the decorator."""

    def __call__(self, *arguments: Any, **named: Any) -> NoReturn:
        raise TypeError("servey.action is a package; the decorator is: from servey.action.action import action")


sys.modules[__name__].__class__ = _Package
