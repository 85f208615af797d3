"""The settings and the service of the working directory, loaded when a command needs them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cached_property

import click

import servey
from servey import log
from servey.plugin import Command
from servey.service import Service
from servey.settings import Settings

_HOME = os.path.dirname(os.path.abspath(servey.__file__))
_LOADERS = (os.path.join(_HOME, "finder") + os.sep, os.path.join(_HOME, "builtin.py"))
"""The file in which servey imports modules of the user."""


class Project:
    """The settings and the service of the commands; default: those of the environment, loaded at their first use."""

    def __init__(self, *, settings: Settings | None = None, service: Service | None = None) -> None:
        if service is not None:
            self.service = service
            settings = service.settings
        if settings is not None:
            self.settings = settings

    @cached_property
    def settings(self) -> Settings:
        """The environment's settings; reading them sets up logging."""
        log.configure()  # so that its warnings are seen
        settings = Settings.from_environment()
        log.configure(settings.process.log_level)
        return settings

    @cached_property
    def service(self) -> Service:
        """The service of the user's modules. Their prints go to standard error: standard output is for results."""
        return self._loaded(self.settings)

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """The commands of the plugins, for which no module of actions is imported."""
        return self._with_plugins.commands

    @cached_property
    def all_settings(self) -> Settings:
        """The settings with the parts of all plugins. It imports no module of actions."""
        return self.settings.with_plugins(self._with_plugins.plugins)

    @cached_property
    def _with_plugins(self) -> Service:
        """The service, or else one with its plugins and without actions."""
        return vars(self).get("service") or self._loaded(self.settings.replace(action_path=""))

    def _loaded(self, settings: Settings) -> Service:
        with redirect_stdout(sys.stderr):
            return Service.from_settings(settings)


def project_of(context: click.Context) -> Project:
    """Return the project that the program works on."""
    return context.ensure_object(Project)


@contextmanager
def quiet() -> Generator[None]:
    """Suppress all output during a completion."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def raised_on_import(error: BaseException) -> bool:
    """Return whether the import of a user's module raised `error`; then its traceback begins in that module."""
    trace = error.__traceback__
    importing = False
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if importing and not _imports(file):
            break
        importing = importing or file.startswith(_LOADERS)
        trace = trace.tb_next
    if importing:
        error.__traceback__ = trace
    return importing


def _imports(file: str) -> bool:
    """Return whether a source file is one that imports the user's modules: servey's own finder, or Python's."""
    return (
        file.startswith(("<frozen ", *_LOADERS))
        or file.endswith(os.path.join("importlib", "__init__.py"))
        or os.path.basename(file) == "pkgutil.py"
    )
