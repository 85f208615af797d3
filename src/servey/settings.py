"""The settings of a service: all parts in one object. No other module reads the environment.

Each part is a `SettingsPart` beside the code that it sets; those of adapters and plugins come from `Plugin.settings`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_type_hints

import msgspec

from servey.action.settings import CallSettings
from servey.background_call.settings import BackgroundSettings
from servey.builtin import built_in_plugins, further_plugins
from servey.cache_control.settings import StoreSettings
from servey.errors import DefinitionError, SettingsError, did_you_mean
from servey.http.settings import HttpSettings
from servey.plugin import Plugin
from servey.schema.settings import ApiSettings
from servey.security.settings import TokenSettings
from servey.security.urls import is_loopback
from servey.settings_part import SettingsField, SettingsPart, Variable, checked, fields_of, read, text_of

_log = logging.getLogger("servey.settings")

Part = TypeVar("Part", bound=SettingsPart)
MOST_WORKERS = 1024
"""A larger number of processes is a typing error."""


class ProcessSettings(SettingsPart, frozen=True, kw_only=True):
    """The modules of a process, its environment, its address, its log level and its stop."""

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
            "`development` or `production`. Unset: development if the server binds to a loopback address and the "
            "broker is on one, too; else production.",
        ),
    ] = ""
    server_host: Annotated[
        str, Variable("SERVER_HOST", "The address that the server binds to.", ("SERVEY_SERVER_HOST", "HOST"))
    ] = "127.0.0.1"
    server_port: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=65535)],
        Variable("SERVER_PORT", "The port that the server binds to.", ("SERVEY_SERVER_PORT", "PORT")),
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
    trusted_proxies: Annotated[
        tuple[str, ...],
        Variable(
            "FORWARDED_ALLOW_IPS",
            "The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` the server trusts: addresses and networks, "
            "or `*` for all.",
            ("SERVEY_FORWARDED_ALLOW_IPS",),
        ),
    ] = ("127.0.0.1", "::1")
    shutdown_delay: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=3600)],
        Variable(
            "SERVEY_SHUTDOWN_DELAY",
            "The seconds that a stopping server still accepts requests, while `/readyz` answers that it is not ready.",
        ),
    ] = 0.0

    @property
    def is_local(self) -> bool:
        """Whether the server is bound to this machine alone."""
        return is_loopback(self.server_host)

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield proxies that are neither addresses nor networks."""
        if "*" in self.trusted_proxies and len(self.trusted_proxies) > 1:
            yield "FORWARDED_ALLOW_IPS has * and more: * alone trusts every proxy, so remove the rest"
        for proxy in self.trusted_proxies:
            if proxy != "*" and not _is_network(proxy):
                yield (
                    f"FORWARDED_ALLOW_IPS has {proxy!r}, which is neither an address nor a network: write 10.0.0.7, or "
                    "10.0.0.0/8 with zeros after the prefix"
                )


def _is_network(text: str) -> bool:
    if text in ("127.0.0.1", "::1"):
        return True
    import ipaddress

    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


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
    process: ProcessSettings
    calls: CallSettings
    http: HttpSettings
    api: ApiSettings
    tokens: TokenSettings
    stores: StoreSettings
    background: BackgroundSettings
    _environ: Mapping[str, str] = field(compare=False)

    def __init__(self, *parts: SettingsPart, **fields: Any) -> None:
        given = {type(part): part for part in parts}
        whole = [given.pop(type_, None) or type_() for type_ in _servey_parts()]
        whole += given.values()
        self._set(whole, checked(fields, _fields_of(whole)))

    def _set(
        self,
        parts: Iterable[SettingsPart],
        values: Mapping[str, Any],
        *,
        problems: Iterable[str] = (),
        generated: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Set the attributes: parts, with the values of some fields replaced. Check all parts."""
        replaced: list[SettingsPart] = []
        for part in parts:
            own = {name: values[name] for name in part.__struct_fields__ if name in values}
            replaced.append(msgspec.structs.replace(part, **own) if own else part)
        core = zip(_core(), replaced, strict=False)  # the parts of the core are the first ones
        attributes = {"parts": tuple(replaced), "generated": generated, "_environ": environ or {}, **dict(core)}
        for name, value in attributes.items():
            object.__setattr__(self, name, value)
        problems = [*problems, *(text for part in replaced for text in part.problems(production=self.production))]
        if problems:
            raise SettingsError("\n".join(problems))

    def _with(self, values: Mapping[str, Any], **changed: Any) -> Settings:
        """Return the settings with some fields replaced, and other arguments of `_set` changed."""
        made = object.__new__(Settings)
        unchanged: dict[str, Any] = {"parts": self.parts, "generated": self.generated, "environ": self._environ}
        made._set(values=values, **{**unchanged, **changed})
        return made

    def part(self, part: type[Part]) -> Part:
        """Return a part.

        Args:
            part: Its class.

        Raises:
            DefinitionError: No plugin of the service has this part.
        """
        for found in self.parts:
            if isinstance(found, part):
                return found
        raise DefinitionError(
            f"the settings have no {part.__name__}",
            fix=f"return it from Plugin.settings(), or pass it: Settings({part.__name__}())",
        )

    @property
    def is_local(self) -> bool:
        """Whether the server is bound to this machine alone."""
        return self.process.is_local

    @property
    def production(self) -> bool:
        """Whether the service runs in production; without `SERVEY_ENV`, if it is reachable from outside."""
        if self.process.environment:
            return self.process.environment == "production"
        return not self.is_local or not self.background.is_local

    @property
    def mode(self) -> str:
        """The environment in words, for the log: ``"production"`` or ``"development"``."""
        return "production" if self.production else "development"

    @property
    def message_secret(self) -> str:
        """The secret that signs background calls in a broker; empty if there is none that other processes have, too."""
        if self.background.message_key or "JWT_SECRET_KEY" in self.generated:
            return self.background.message_key
        return self.tokens.jwt_secret_key

    def __repr__(self) -> str:
        """Return the fields that differ from the defaults, without secrets: a traceback may show them."""
        defaults = {name: value for part in self.parts for name, value in _values_of(type(part)())}
        fields = self._fields
        shown = [
            f"{name}={'…' if fields[name].hides(value) else repr(fields[name].shown(value))}"
            for part in self.parts
            for name, value in _values_of(part)
            if value != defaults[name]
        ]
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
        known = list(map(type, self.parts))
        missing = [type_() for type_ in dict.fromkeys(_parts_of(plugins)) if type_ not in known]
        if not missing:
            return self
        parts = (*self.parts, *missing)
        new = [item for name, item in _fields_of(parts).items() if name not in self._fields]
        values, problems = read(new, self._environ)
        return self._with(values, parts=parts, problems=problems)

    def with_generated_secrets(self) -> Settings:
        """Return the settings with generated secrets: a key of tokens and a password, if development does not set them.

        Call it before you start several processes, so that all of them have the same secrets. In production it
        generates nothing.
        """
        if self.production:
            return self
        import secrets

        made: dict[str, str] = {}
        if not self.tokens.has_keys:
            made["jwt_secret_key"] = secrets.token_hex(32)
        if not self.tokens.debug_authenticator_password and self.tokens.debug_authenticator is not False:
            made["debug_authenticator_password"] = secrets.token_urlsafe(12)
        names = tuple(self._fields[name].variable.name for name in made)
        return self._with(made, generated=(*self.generated, *names)) if made else self

    @property
    def _fields(self) -> Mapping[str, SettingsField]:
        return _fields_of(self.parts)

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
        defaults = cls(*(type_() for type_ in _parts_of(plugins)))
        values, problems = read(defaults._fields.values(), environ)
        settings = defaults._with(values, problems=problems, environ=environ)
        if not further_plugins(settings.process.plugins):  # they may have variables, too
            settings.warn_of_unknown()
        return settings

    def warn_of_unknown(self) -> None:
        """Log a warning for each variable of the environment that begins with ``SERVEY_`` and belongs to no part."""
        known = {name for variable in self.variables().values() for name in variable.names}
        for name in sorted(self._environ):
            if name.startswith("SERVEY_") and name not in known:
                _log.warning("%s is not a setting of servey%s", name, did_you_mean(name, known))

    def table(self, environ: Mapping[str, str] | None = None) -> tuple[SettingRow, ...]:
        """Return each variable with its effective value (secrets masked) and the source of the value."""
        environ = os.environ if environ is None else environ
        rows: list[SettingRow] = []
        for name, value in [pair for part in self.parts for pair in _values_of(part)]:
            item = self._fields[name]
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
def _core() -> Mapping[str, type[SettingsPart]]:
    """Return the parts of the core, by the attributes of `Settings`."""
    hints = get_type_hints(Settings)
    return {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, SettingsPart)}


@cache
def _servey_parts() -> tuple[type[SettingsPart], ...]:
    return (*_core().values(), *_parts_of(built_in_plugins()))


def _parts_of(plugins: Iterable[Plugin]) -> list[type[SettingsPart]]:
    return [part for plugin in plugins for part in plugin.settings()]


def _fields_of(parts: Iterable[SettingsPart]) -> Mapping[str, SettingsField]:
    return fields_of(tuple(map(type, parts)))


def _values_of(part: SettingsPart) -> list[tuple[str, Any]]:
    return [(name, getattr(part, name)) for name in part.__struct_fields__]
