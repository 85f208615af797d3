"""The settings of a service: all parts in one object. No other module reads the environment.

Each part is a `SettingsPart` beside the code that it sets; those of adapters and plugins come from `Plugin.settings`.
"""

from __future__ import annotations

import binascii
import logging
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec

from servey.action.settings import CallSettings
from servey.builtin import built_in_plugins, further_plugins
from servey.cache_control.settings import CacheSettings
from servey.errors import DefinitionError, SettingsError
from servey.http.settings import HttpSettings, SelectionSettings
from servey.plugin import Plugin
from servey.schema.settings import ApiSettings
from servey.security.rate_limit.settings import RateLimitSettings
from servey.security.settings import LoginSettings, TokenSettings
from servey.security.urls import is_loopback
from servey.settings_field import SettingsField, checked, did_you_mean, fields_of, names_of, read, text_of
from servey.settings_part import SettingsPart, Variable

_log = logging.getLogger("servey.settings")

Part = TypeVar("Part", bound=SettingsPart)
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
MOST_WORKERS = 1024
"""A larger number of processes is a typing error."""

_URLSAFE = bytes.maketrans(b"+/", b"-_")


class ProcessSettings(SettingsPart, frozen=True, kw_only=True):
    """The modules of a process, its environment, its address and its log level."""

    action_path: Annotated[
        str,
        Variable(
            "SERVEY_ACTION_PATH",
            "The modules in which servey looks for actions and resources, with their submodules; several with commas.",
        ),
    ] = "actions"
    environment: Annotated[
        Literal["", "development", "production"],
        Variable(
            "SERVEY_ENV",
            "`development` or `production`. Unset: development if the server binds to a loopback address, else "
            "production.",
        ),
    ] = ""
    server_host: Annotated[
        str, Variable("SERVER_HOST", "The address that the server binds to.", ("SERVEY_SERVER_HOST", "HOST"))
    ] = "127.0.0.1"
    server_port: Annotated[
        Port, Variable("SERVER_PORT", "The port that the server binds to.", ("SERVEY_SERVER_PORT", "PORT"))
    ] = 8000
    workers: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS)],
        Variable(
            "SERVEY_WORKERS",
            f"The number of server processes that share the port, {MOST_WORKERS} at most.",
            ("WEB_CONCURRENCY",),
        ),
    ] = 1
    plugins: Annotated[
        tuple[str, ...],
        Variable("SERVEY_PLUGINS", "The plugins to load in addition to the installed ones: `module:Name,…`."),
    ] = ()
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        Variable(
            "LOG_LEVEL",
            "The lowest level of messages in the log: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.",
            ("SERVEY_LOG_LEVEL", "LOGLEVEL"),
        ),
    ] = "INFO"

    @property
    def is_local(self) -> bool:
        """Whether the server is bound to this machine alone."""
        return is_loopback(self.server_host)

    @property
    def production(self) -> bool:
        """Whether the service runs in production."""
        return self.environment == "production" or (self.environment == "" and not self.is_local)


_CORE: Mapping[str, type[SettingsPart]] = {
    "process": ProcessSettings,
    "calls": CallSettings,
    "http": HttpSettings,
    "selection": SelectionSettings,
    "api": ApiSettings,
    "tokens": TokenSettings,
    "login": LoginSettings,
    "cache": CacheSettings,
    "rate_limit": RateLimitSettings,
}
"""The parts of the core, by the attributes of `Settings`."""


class SettingRow(NamedTuple):
    """A row of the table of settings: the effective value of a variable, and its source."""

    variable: str
    value: str
    source: str
    doc: str


@dataclass(frozen=True, init=False, repr=False, slots=True)
class Settings:
    """The settings of a service. The parts of the core are attributes; `part` returns those of adapters and plugins.

    Args:
        parts: Whole parts, for those of your plugins.
        fields: Single fields of servey's parts, by name.

    Raises:
        SettingsError: A value is wrong, two values contradict each other, or no part has the field.

    Example:
        >>> settings = Settings(timeout=2.5, graphql_max_batch=4)
        >>> settings.calls.timeout, settings.process.server_port
        (2.5, 8000)
    """

    parts: tuple[SettingsPart, ...]
    generated: tuple[str, ...]
    """The variables whose values `with_generated_secrets` generated."""
    process: ProcessSettings = field(compare=False)
    calls: CallSettings = field(compare=False)
    http: HttpSettings = field(compare=False)
    selection: SelectionSettings = field(compare=False)
    api: ApiSettings = field(compare=False)
    tokens: TokenSettings = field(compare=False)
    login: LoginSettings = field(compare=False)
    cache: CacheSettings = field(compare=False)
    rate_limit: RateLimitSettings = field(compare=False)
    _by_type: Mapping[type[SettingsPart], SettingsPart] = field(compare=False)
    _environ: Mapping[str, str] | None = field(compare=False)

    def __init__(self, *parts: SettingsPart, **fields: Any) -> None:
        types = tuple(dict.fromkeys((*_servey_parts(), *map(type, parts))))
        self._set({**_defaults(types), **{type(part): part for part in parts}}, checked(fields, fields_of(types)))

    def _set(
        self,
        parts: Mapping[type[SettingsPart], SettingsPart],
        fields: Mapping[str, Any],
        generated: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Set the attributes: parts, with the values of some fields replaced. Check all parts."""
        by_type = {type_: _replaced(part, fields) for type_, part in parts.items()}
        core = {name: by_type[type_] for name, type_ in _CORE.items()}
        values = {"parts": tuple(by_type.values()), "generated": generated, "_by_type": by_type, "_environ": environ}
        for name, value in {**core, **values}.items():
            object.__setattr__(self, name, value)
        problems = [text for part in self.parts for text in part.problems(production=self.production)]
        if problems:
            raise SettingsError("\n".join(problems))

    def part(self, part: type[Part]) -> Part:
        """Return a part.

        Args:
            part: Its class.

        Raises:
            DefinitionError: No plugin of the service has this part.
        """
        found = self._by_type.get(part)
        if not isinstance(found, part):
            raise DefinitionError(
                f"the settings have no {part.__name__}",
                fix=f"return it from Plugin.settings(), or pass it: Settings({part.__name__}())",
            )
        return found

    @property
    def is_local(self) -> bool:
        """Whether the server is bound to this machine alone."""
        return self.process.is_local

    @property
    def production(self) -> bool:
        """Whether the service runs in production; without `SERVEY_ENV`, if other machines can reach its address."""
        return self.process.production

    def __repr__(self) -> str:
        """Return the fields that differ from the defaults, without secrets: a traceback may show them."""
        shown: list[str] = []
        for part in self.parts:
            default = type(part)()
            for name, item in fields_of((type(part),)).items():
                value = getattr(part, name)
                if value != getattr(default, name):
                    shown.append(f"{name}={'…' if item.hides(value) else repr(item.shown(value))}")
        return f"Settings({', '.join(shown)})"

    def replace(self, **fields: Any) -> Settings:
        """Return the settings with some fields replaced.

        Raises:
            SettingsError: A value is wrong, or no part has the field.
        """
        return self._with(checked(fields, self._fields))

    def with_plugins(self, plugins: Iterable[Plugin]) -> Settings:
        """Return the settings with the parts of plugins, read from the same environment.

        Raises:
            SettingsError: A value is wrong.
            DefinitionError: Two parts have the same field or variable.
        """
        missing = [part for part in _parts_of(plugins) if part not in self._by_type]
        if not missing:
            return self
        fields = fields_of((*self._by_type, *missing))
        own = {name: fields[name] for name in fields if name not in self._fields}
        values, problems = read(own, self._environ or {})
        with _collected(problems):
            return self._with(values, {**self._by_type, **_defaults(missing)})

    def with_generated_secrets(self) -> Settings:
        """Return the settings with generated secrets: a key of tokens and a password, if development does not set them.

        Call it before you start several processes, so that all of them have the same secrets. In production it
        generates nothing.
        """
        if self.production:
            return self
        made: dict[str, Any] = {}
        names: list[str] = []
        if not self.tokens.has_keys:
            made["jwt_secret_key"] = os.urandom(32).hex()
            names.append("JWT_SECRET_KEY")
        if not self.login.debug_authenticator_password and self.login.debug_authenticator is not False:
            password = binascii.b2a_base64(os.urandom(12), newline=False).translate(_URLSAFE).decode()
            made["debug_authenticator_password"] = password
            names.append("SERVEY_DEBUG_AUTHENTICATOR_PASSWORD")
        return self._with(made, generated=tuple(names)) if made else self

    def _with(
        self,
        fields: Mapping[str, Any],
        parts: Mapping[type[SettingsPart], SettingsPart] | None = None,
        generated: tuple[str, ...] = (),
    ) -> Settings:
        made = object.__new__(Settings)
        made._set(parts or self._by_type, fields, (*self.generated, *generated), self._environ)
        return made

    @property
    def _fields(self) -> Mapping[str, SettingsField]:
        return fields_of(tuple(self._by_type))

    def variables(self) -> dict[str, Variable]:
        """Return the variable of each field."""
        return {name: item.variable for name, item in self._fields.items()}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, *, plugins: Iterable[Plugin] = ()) -> Settings:
        """Read the settings.

        Args:
            environ: The variables; default: the process's, or what `use_in_this_process` has set. An empty value counts
                as unset.
            plugins: Your plugins, if you pass them to the service yourself. `Service.from_settings` reads the parts of
                the plugins that it loads.

        Raises:
            SettingsError: Some values are wrong; the message lists all of them.
        """
        if environ is None and _of_this_process:
            return _of_this_process[0].with_plugins(plugins)
        environ = dict(os.environ if environ is None else environ)
        types = tuple(dict.fromkeys((*_servey_parts(), *_parts_of(plugins))))
        values, problems = read(fields_of(types), environ)
        settings = object.__new__(cls)
        with _collected(problems):
            settings._set(_defaults(types), values, environ=environ)
        unknown = settings.unknown_variables()
        if unknown and not further_plugins(settings.process.plugins):  # which may have them
            settings.warn_of_unknown()
        return settings

    def unknown_variables(self) -> list[str]:
        """Return the variables of the environment that begin with ``SERVEY_`` and belong to no part."""
        known = names_of(self._fields.values())
        return sorted(name for name in self._environ or () if name.startswith("SERVEY_") and name not in known)

    def warn_of_unknown(self) -> None:
        """Log a warning for each unknown variable."""
        for name in self.unknown_variables():
            _log.warning("%s is no setting of servey%s", name, did_you_mean(name, names_of(self._fields.values())))

    def table(self, environ: Mapping[str, str] | None = None) -> tuple[SettingRow, ...]:
        """Return each variable with its effective value (secrets masked) and the source of the value."""
        environ = os.environ if environ is None else environ
        rows: list[SettingRow] = []
        for part in self.parts:
            for name, item in fields_of((type(part),)).items():
                value = getattr(part, name)
                text = text_of(item.shown(value))
                if text and item.hides(value):
                    text = "********"
                given = item.given(environ)
                source = "generated" if item.variable.name in self.generated else (given[0] if given else "default")
                rows.append(SettingRow(item.variable.name, text, source, item.variable.doc))
        return tuple(rows)


_of_this_process: list[Settings] = []


def use_in_this_process(settings: Settings) -> None:
    """Have `Settings.from_environment` return `settings` in this process.

    A server calls this before it imports the user's application. So a service in there has the address that the command
    line names, and the secrets that all processes of the server share.
    """
    _of_this_process[:] = [settings]


@cache
def _servey_parts() -> tuple[type[SettingsPart], ...]:
    return (*_CORE.values(), *_parts_of(built_in_plugins()))


def _parts_of(plugins: Iterable[Plugin]) -> list[type[SettingsPart]]:
    return [part for plugin in plugins for part in plugin.settings()]


@contextmanager
def _collected(problems: list[str]) -> Generator[None]:
    """Raise the given problems together with those of the block, in one error."""
    try:
        yield
    except SettingsError as error:
        problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))


def _defaults(parts: Iterable[type[SettingsPart]]) -> dict[type[SettingsPart], SettingsPart]:
    return {part: part() for part in parts}


def _replaced(part: SettingsPart, fields: Mapping[str, Any]) -> SettingsPart:
    own = {name: fields[name] for name in part.__struct_fields__ if name in fields}
    return msgspec.structs.replace(part, **own) if own else part
