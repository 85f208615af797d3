"""The fields of settings: reading their values from variables and from code, and showing them without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from servey.errors import DefinitionError, SettingsError, nearest
from servey.security.urls import shown_url
from servey.settings_part import SettingsPart, Variable

_SWITCHES = {"on": "true", "yes": "true", "off": "false", "no": "false"}


class SettingsField(NamedTuple):
    """A field of a part, with its type and its variable."""

    name: str
    hint: Any
    variable: Variable

    @property
    def names(self) -> tuple[str, ...]:
        """The variable and its aliases."""
        return (self.variable.name, *self.variable.aliases)

    def given(self, environ: Mapping[str, str]) -> tuple[str, str] | None:
        """Return the first variable that is set, and its text."""
        for name in self.names:
            text = environ.get(name, "").strip()
            if text:
                return name, text
        return None

    def hides(self, value: Any) -> bool:
        """Return whether a value is secret: because of its variable, or because it contains a private key."""
        is_secret = self.variable.secret and value not in self.variable.public
        return is_secret or "PRIVATE KEY" in text_of(value)

    def shown(self, value: Any) -> Any:
        """Return a value without the secret parts of its URLs."""
        return tuple(map(shown_url, value)) if self.variable.has_urls else value

    def parse(self, text: str) -> Any:
        """Return the value of a variable's text.

        Raises:
            msgspec.ValidationError: The text has no such value.
        """
        kind = self._kind
        if get_origin(kind) is tuple:
            return tuple(item.strip() for item in text.split(",") if item.strip())
        if kind in (bool, bool | None):
            text = _SWITCHES.get(text.lower(), text)
        if get_origin(kind) is Literal and text.upper() in get_args(kind):
            text = text.upper()
        return msgspec.convert(text, self.hint, strict=False)

    def expected(self) -> str:
        """Return the values of a type that lists them, as a message; empty for other types."""
        if self._kind is bool:
            return "it takes true or false"
        if get_origin(self._kind) is not Literal:
            return ""
        return "it takes " + " or ".join(value for value in get_args(self._kind) if value)

    @property
    def _kind(self) -> Any:
        return self.hint.__origin__


@cache
def fields_of(parts: tuple[type[SettingsPart], ...]) -> Mapping[str, SettingsField]:
    """Return the fields of parts by name."""
    found: dict[str, SettingsField] = {}
    owners: dict[str, type[SettingsPart]] = {}
    for part in parts:
        hints = get_type_hints(part, include_extras=True)
        for name in part.__struct_fields__:
            item = SettingsField(name, hints[name], _variable(part, name, hints[name]))
            for unique in (name, *item.names):
                owner = owners.setdefault(unique, part)
                if owner is not part:
                    raise DefinitionError(
                        f"two parts of the settings have {unique}: {owner.__qualname__} and {part.__qualname__}",
                        fix="rename the field or the variable of one of them",
                    )
            found[name] = item
    return found


def _variable(part: type[SettingsPart], name: str, hint: Any) -> Variable:
    found = [item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Variable)]
    if not found:
        raise DefinitionError(
            f"{part.__qualname__}.{name} has no variable",
            fix=f'{name}: Annotated[int, Variable("NAME", "What it sets.")] = 1',
        )
    return found[0]


def names_of(fields: Iterable[SettingsField]) -> set[str]:
    """Return the names of all variables of fields."""
    return {name for item in fields for name in item.names}


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


def read(fields: Mapping[str, SettingsField], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the values that the environment sets, by the names of their fields, and the problems of wrong values."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item in fields.values():
        given = item.given(environ)
        if given is None:
            continue
        name, text = given
        if _is_undecodable(text):
            problems.append(f"{name} has bytes that are not UTF-8: write it again")
            continue
        try:
            values[item.name] = item.parse(text)
        except msgspec.ValidationError as error:
            shown = "not valid" if item.hides(text) else repr(text)
            problems.append(f"{name} is {shown}: {item.expected() or error}")
    return values, problems


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name."""
    near = nearest(name, names)
    return f"; did you mean {near}?" if near else ""


def text_of(value: Any) -> str:
    """Return a value as a variable has it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_undecodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
