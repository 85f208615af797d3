"""A part of the settings: a class of fields, each declared once with its environment variable, default and meaning.

A part stands in a module `settings` beside the code that it sets, and reads nothing itself: `servey.settings` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from servey.errors import DefinitionError, SettingsError, did_you_mean
from servey.security.urls import shown_url

Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]

_SWITCHES = {"on": "true", "yes": "true", "off": "false", "no": "false"}


class Variable(NamedTuple):
    """The environment variable of a field.

    Args:
        name: The name.
        doc: What the field sets, with its unit; a sentence. `servey config` prints it.
        aliases: Further names. The first name that is set counts.
        secret: Whether the value is hidden in all output.
        public: Values of a secret variable that are shown, because they contain no secret.
        has_urls: Whether the values are URLs. They are shown without credentials and query.
        agrees: Whether all names that are set must have the same value, because other programs read a further name.
    """

    name: str
    doc: str
    aliases: tuple[str, ...] = ()
    secret: bool = False
    public: tuple[str, ...] = ()
    has_urls: bool = False
    agrees: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the further names."""
        return (self.name, *self.aliases)


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


class SettingsField(NamedTuple):
    """A field of a part, with its type and its variable."""

    name: str
    hint: Any
    variable: Variable

    def given(self, environ: Mapping[str, str]) -> tuple[str, str] | None:
        """Return the first variable that is set, and its text."""
        return next(self.all_given(environ), None)

    def all_given(self, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield each variable that is set, and its text."""
        for name in self.variable.names:
            text = environ.get(name, "").strip()
            if text:
                yield name, text

    def hides(self, value: Any) -> bool:
        """Return whether a value is secret: because of its variable, or because it contains a private key."""
        is_secret = self.variable.secret and value not in self.variable.public
        return is_secret or "PRIVATE KEY" in text_of(value)

    def shown(self, value: Any) -> Any:
        """Return a value without the secret parts of its URLs."""
        if not self.variable.has_urls:
            return value
        return shown_url(value) if isinstance(value, str) else tuple(map(shown_url, value))

    def parse(self, text: str) -> Any:
        """Return the value of a variable's text; raise `ValueError`, with a message for users, if there is none."""
        kind: Any = self.hint.__origin__
        if get_origin(kind) is tuple:
            return tuple(item.strip() for item in text.split(",") if item.strip())
        if kind in (bool, bool | None):
            text = _SWITCHES.get(text.lower(), text)
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        try:
            return msgspec.convert(text.upper() if text.upper() in choices else text, self.hint, strict=False)
        except msgspec.ValidationError as error:
            if kind is bool:
                choices = ("true", "false")
            raise ValueError(f"it takes {' or '.join(filter(None, choices))}" if choices else str(error)) from None


@cache
def fields_of(parts: tuple[type[SettingsPart], ...]) -> Mapping[str, SettingsField]:
    """Return the fields of parts by name.

    Raises:
        DefinitionError: A field has no variable, or two parts have the same field or variable.
    """
    found: dict[str, SettingsField] = {}
    owners: dict[str, type[SettingsPart]] = {}
    for part in parts:
        for item in msgspec.structs.fields(part):
            variable = _variable(part, item)
            for unique in (item.name, *variable.names):
                owner = owners.setdefault(unique, part)
                if owner is not part:
                    raise DefinitionError(
                        f"two parts of the settings have {unique}: {owner.__qualname__} and {part.__qualname__}",
                        fix="rename the field or the variable of one of them",
                    )
            found[item.name] = SettingsField(item.name, item.type, variable)
    return found


def _variable(part: type[SettingsPart], item: msgspec.structs.FieldInfo) -> Variable:
    for note in getattr(item.type, "__metadata__", ()):
        if isinstance(note, Variable):
            return note
    raise DefinitionError(
        f"{part.__qualname__}.{item.name} has no variable",
        fix=f'{item.name}: Annotated[int, Variable("NAME", "What it sets.")] = 1',
    )


def checked(values: Mapping[str, Any], fields: Mapping[str, SettingsField]) -> dict[str, Any]:
    """Return values by the names of fields, checked against the fields' types.

    Raises:
        SettingsError: A value has another type, or no field has the name; the message lists all of them.
    """
    problems: list[str] = []
    found: dict[str, Any] = {}
    for name, value in values.items():
        item = fields.get(name)
        if item is None:
            problems.append(f"no setting has the name {name}{did_you_mean(name, fields)}")
            continue
        try:
            found[name] = msgspec.convert(value, item.hint)
        except msgspec.ValidationError as error:
            problems.append(f"{name} is {'not valid' if item.hides(value) else repr(value)}: {error}")
    if problems:
        raise SettingsError("\n".join(problems))
    return found


def read(fields: Iterable[SettingsField], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the values that the environment sets, by the names of their fields, and the problems of wrong values."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item in fields:
        given = item.given(environ)
        if given is None:
            continue
        name, text = given
        if item.variable.agrees:
            others = [other for other, value in item.all_given(environ) if value != text]
            problems += [f"{name} and {other} differ: remove one of them" for other in others]
        try:
            text.encode()
            values[item.name] = item.parse(text)
        except UnicodeEncodeError:
            problems.append(f"{name} has bytes that are not UTF-8: write it again")
        except ValueError as error:
            problems.append(f"{name} is {'not valid' if item.hides(text) else repr(text)}: {error}")
    return values, problems


def text_of(value: Any) -> str:
    """Return a value as a variable has it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
