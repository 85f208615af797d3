"""Serve an application with uvicorn: in one process, with workers, or reloading."""

from __future__ import annotations

from servey.servey_uvicorn.banner import log_banner
from servey.servey_uvicorn.graceful import Server
from servey.servey_uvicorn.listening import bind, log_address
from servey.servey_uvicorn.processes import Load, ShowError
from servey.settings import Settings


def serve(
    settings: Settings, load: Load, *, reload: bool = False, modules: str = "", show_error: ShowError = str
) -> None:
    """Load an application and serve it over HTTP until a signal ends the server.

    Without `reload`, the application is loaded first: a wrong declaration raises before any port is bound.

    Args:
        settings: The settings, such as the address to bind and the number of processes.
        load: Loads the application.
        reload: Whether to load the application again when a file of Python code changes. For development: callers see
            errors.
        modules: The modules whose files are watched besides those in the working directory, separated by commas.
        show_error: With `reload`, shows errors of the user's modules.

    Raises:
        DefinitionError: A declaration is wrong.
        SettingsError: The address cannot be bound, or a key of tokens is too weak or missing.
        SystemExit: A resource cannot be opened.
    """
    settings = settings.with_generated_secrets()  # before there are several processes, which share them
    if reload:
        from servey.servey_uvicorn.reloader import Reloader
        from servey.servey_uvicorn.watch import directories_of

        with bind(settings) as listening:
            Reloader(settings, load, show_error, listening, directories_of(modules)).run()
        return
    app = load(settings)
    with bind(settings) as listening:
        log_banner(settings, app, listening)
        if settings.process.workers > 1:
            from servey.servey_uvicorn.worker_supervisor import serve_with_workers

            serve_with_workers(settings, load, listening)
            return
        Server(app, settings, started=lambda: log_address(listening)).run([listening])
