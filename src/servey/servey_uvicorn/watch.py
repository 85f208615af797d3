"""Watch the Python files of a project, each directory by itself, so that a virtual environment costs nothing."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from watchfiles import Change, PythonFilter, watch
from watchfiles.main import FileChange

from servey.problem_details import is_text

_log = logging.getLogger("servey.server")

_TICK_MILLISECONDS = 100
"""How often the iteration yields an empty set, so that its caller can do other work."""

_QUIET_MILLISECONDS = 50
"""Changes within this time count as one: an editor saves all its files at once."""

_LONGEST_MILLISECONDS = 400
"""Changes end to count as one after this time, if something, such as a database, never stops writing."""

_IGNORED = frozenset({"__pycache__", "node_modules", "site-packages"})

_is_python = PythonFilter()


def directories_of(modules: str) -> list[Path]:
    """Return the directories to watch: the working directory and those of the named modules, without importing them.

    Args:
        modules: Names of modules, separated by commas.
    """
    found = [Path.cwd()]
    for name in filter(None, (part.strip().partition(".")[0] for part in modules.split(","))):
        found += _places_of(name)
    return [path for path in dict.fromkeys(found) if not any(other in path.parents for other in found)]


def _places_of(module: str) -> list[Path]:
    """Return the directories with the code of a module; none if it cannot be found."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is not None and spec.submodule_search_locations:
        return [Path(place).resolve() for place in spec.submodule_search_locations]
    if spec is not None and spec.origin and os.path.isfile(spec.origin):
        return [Path(spec.origin).resolve().parent]
    return []


def trees(roots: Iterable[Path]) -> Iterator[str]:
    """Yield the directories under `roots` that may hold the project's own code.

    Directories whose names begin with a dot, virtual environments, installed packages and caches do not.
    """
    for root in roots:
        for place, names, _ in os.walk(root):
            yield place
            names[:] = sorted(name for name in names if _is_own(place, name))


class Changes(Iterator[set[Path]]):
    """Iterates over sets of Python files that were created, changed or deleted; a set is often empty.

    Args:
        roots: The directories to watch, with their present and future subdirectories.
        stop: Ends the iteration.

    Attributes:
        is_lost: Whether the files cannot be watched now, for example because the working directory is missing.

    Raises:
        OSError: The operating system watches no more directories.
    """

    def __init__(self, roots: Iterable[Path], stop: threading.Event) -> None:
        self._home = Path.cwd()
        self._roots = list(roots)
        self._stop = stop
        self._has_warned = False
        self._begin()

    def __next__(self) -> set[Path]:
        """Return the changes since the last call.

        Raises:
            StopIteration: `stop` is set.
        """
        if self.is_lost:
            return self._resume()
        moment = time.time()
        try:
            found, self._first = self._first or next(self._changes), set[FileChange]()
            if self._identities() != self._known or any(path in self._places for _, path in found):
                raise FileNotFoundError(f"{self._home} was moved or replaced")
            changed = {Path(path) for change, path in found if _is_python(change, path)}
            created = {path for change, path in found if change is not Change.modified and _is_own_directory(path)}
            changed |= self._watch_new(created) if created else set()
        except (OSError, RuntimeError) as error:  # RuntimeError: the name of a file is not UTF-8
            self.is_lost = True
            if not self._has_warned:
                _log.warning("the files cannot be watched now; the server tries again until it can: %s", error)
            self._has_warned = True
            return set()
        self._looked = moment
        return changed

    def _begin(self) -> None:
        self.is_lost = False
        self._looked = time.time()
        self._known = self._identities()
        self._places = set(map(str, self._roots))
        self._watched = set(trees(self._roots))
        self._changes = self._watch()
        self._first = next(self._changes, set[FileChange]())  # from here on, no change is missed

    def _identities(self) -> list[tuple[int, int] | None]:
        """Return the identity of each watched directory: another directory may have taken its name."""
        return [_identity(place) for place in (self._home, *self._roots)]

    def _resume(self) -> set[Path]:
        """Watch again, if the working directory exists; return the files that have changed meanwhile."""
        if self._stop.wait(_TICK_MILLISECONDS / 1000):
            raise StopIteration
        known, looked = self._known, self._looked - 1.0  # the times of files are coarse
        try:
            os.chdir(self._home)  # it may be a new directory of the same name
            self._begin()
        except (OSError, RuntimeError):
            self.is_lost, self._known, self._looked = True, known, looked + 1.0
            return set()
        files = {path for place in self._watched for path in Path(place).glob("*.py") if is_text(path.name)}
        if self._known != known:
            return files
        return {path for path in files if _changed_at(path) > looked}

    def _watch_new(self, created: set[str]) -> set[Path]:
        """Watch the created directories, too; return the Python files in them."""
        before, self._watched = self._watched, set(trees(self._roots))
        old, self._changes = self._changes, self._watch()
        self._first = next(self._changes, set[FileChange]())
        self._first |= next(old, set[FileChange]())  # what has changed before the new watch began
        old.close()
        new = {
            place for place in self._watched if place not in before or created & {place, *map(str, Path(place).parents)}
        }
        return {path for place in new for path in Path(place).glob("*.py")}

    def _watch(self) -> Generator[set[FileChange]]:
        return watch(
            *sorted(self._watched),
            watch_filter=None,
            debounce=_LONGEST_MILLISECONDS,
            step=_QUIET_MILLISECONDS,
            stop_event=self._stop,
            rust_timeout=_TICK_MILLISECONDS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
            ignore_permission_denied=True,
        )


def _is_own_directory(path: str) -> bool:
    return os.path.isdir(path) and _is_own(*os.path.split(path))


def _is_own(place: str, name: str) -> bool:
    if name.startswith(".") or name in _IGNORED or not is_text(name):
        return False
    return not os.path.exists(os.path.join(place, name, "pyvenv.cfg"))


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = place.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_ctime
    except OSError:
        return 0.0
