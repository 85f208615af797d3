"""A part of the settings: a class of fields, each declared once with its environment variable, default and meaning.

A part stands in a module `settings` beside the code that it sets, and reads nothing itself: `servey.settings` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Variable(NamedTuple):
    """The environment variable of a field.

    Args:
        name: The name.
        doc: What the field sets, with its unit; a sentence. `servey config` prints it.
        aliases: Further names. The first name that is set counts.
        secret: Whether the value is hidden in all output.
        public: Values of a secret variable that are shown, because they contain no secret.
        has_urls: Whether the values are URLs. They are shown without credentials and query.
    """

    name: str
    doc: str
    aliases: tuple[str, ...] = ()
    secret: bool = False
    public: tuple[str, ...] = ()
    has_urls: bool = False


class SettingsPart(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one part of servey, or of a plugin.

    The name of each field is a keyword of `servey.settings.Settings`, so no other part has a field of the same name.

    Example:
        >>> class ShopSettings(SettingsPart, frozen=True, kw_only=True):
        ...     shop_tills: Annotated[Positive, Variable("SHOP_TILLS", "The number of tills.")] = 1
    """

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield the mistakes in the values that their types do not show; each text begins with the variable's name.

        Args:
            production: Whether the service runs in production.
        """
        return iter(())
