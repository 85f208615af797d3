"""Which directories are watched, and what counts as a change."""

import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from watchfiles.main import FileChange

from servey.servey_uvicorn.watch import Changes, directories_of, trees


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path.resolve()


def make(root: Path, *files: str) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_what_is_no_code_of_the_projects_own_is_not_watched(project: Path) -> None:
    make(project, "app/models/user.py", "app/__pycache__/user.pyc", "node_modules/x/y.js", ".git/objects/a")
    make(project, "env/pyvenv.cfg", "env/lib/python3.13/site-packages/click/core.py", "lib/site-packages/z.py")
    watched = {str(Path(place).relative_to(project)) for place in trees([project])}
    assert watched == {".", "app", "app/models", "lib"}


def test_modules_elsewhere_are_watched_and_not_imported(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere").resolve()
    (elsewhere / "far").mkdir()
    (elsewhere / "far" / "__init__.py").write_text("raise RuntimeError('imported')")
    sys.path.append(str(elsewhere))
    try:
        assert directories_of("far.actions, nowhere, actions") == [project, elsewhere / "far"]
    finally:
        sys.path.remove(str(elsewhere))
    assert "far" not in sys.modules


def next_change(changes: Changes) -> set[str]:
    for _ in range(200):
        if found := next(changes):
            return {path.name for path in found}
    raise AssertionError("no change in 20 seconds")


def test_python_files_that_come_change_and_go_are_told_and_others_are_not(project: Path) -> None:
    stop = threading.Event()
    changes = Changes([project], stop)
    make(project, "notes.txt", "data.sqlite3", "a.py.swp", "a.py~", "a.py")
    assert next_change(changes) == {"a.py"}
    (project / "a.py.new").write_text("x = 1")
    (project / "a.py.new").replace(project / "a.py")
    assert next_change(changes) == {"a.py"}
    make(project, "deep/er/b.py")
    assert next_change(changes) == {"b.py"}
    (project / "deep" / "er" / "b.py").write_text("x = 1")
    assert next_change(changes) == {"b.py"}
    (project / "a.py").unlink()
    assert next_change(changes) == {"a.py"}
    stop.set()
    assert list(changes) == []


def test_a_directory_that_was_replaced_is_watched_on(project: Path) -> None:
    make(project, "part/a.py")
    changes = Changes([project], threading.Event())
    (project / "part").rename(project / "old")
    make(project, "part/a.py")
    assert "a.py" in next_change(changes)
    (project / "part" / "a.py").write_text("x = 1")
    assert next_change(changes) == {"a.py"}


class ChangesDuringAChange(Changes):
    """Changes, of which one more comes right before the directories are watched again."""

    meanwhile: Callable[[], object] | None = None

    def _watch(self) -> Generator[set[FileChange]]:
        watching = super()._watch()
        if self.meanwhile is not None:
            self.meanwhile()
            self.meanwhile = None
        return watching


def test_a_file_that_changes_while_a_new_directory_is_found_is_not_missed(project: Path) -> None:
    make(project, "a.py")
    changes = ChangesDuringAChange([project], threading.Event())
    changes.meanwhile = lambda: (project / "a.py").write_text("x = 1")
    (project / "new").mkdir()
    assert next_change(changes) == {"a.py"}


def test_a_directory_that_comes_while_another_is_found_is_watched(project: Path) -> None:
    changes = ChangesDuringAChange([project], threading.Event())
    changes.meanwhile = lambda: make(project, "second/a.py")
    (project / "first").mkdir()
    assert next_change(changes) == {"a.py"}
    (project / "second" / "a.py").write_text("x = 1")
    assert next_change(changes) == {"a.py"}
