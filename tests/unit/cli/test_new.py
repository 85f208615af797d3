"""``servey new``: what it makes runs, and it makes all of it or nothing. From the wheel: tests/packaging."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from servey.cli.new import FILES, make, package_name, requirement

BIN = Path(sys.executable).parent
NEXT = """
Next:
  cd parcels
  make test   # install what it needs into .venv, and run the tests
  make serve  # serve it on http://localhost:8000
"""


def files_in(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def run(*command: str, cwd: Path) -> str:
    """Run a program of this environment, which must succeed, as a user would who has set nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SERVEY_", "PYTEST_", "RUFF_"))}
    environment = {**kept, "PATH": f"{BIN}{os.pathsep}{kept['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def parcels(home, servey) -> Path:
    """A project of the name parcels."""
    assert servey("new", "parcels").code == 0
    return home / "parcels"


def test_a_new_project_has_its_files_and_the_user_is_told_what_is_next(home, servey):
    outcome = servey("new", "parcels")
    assert outcome.code == 0
    assert outcome.out == f"Made the project parcels: {', '.join(FILES)}\n{NEXT}"
    assert files_in(home) == {f"parcels/{file}" for file in FILES}


def test_no_placeholder_is_left(parcels):
    texts = [(parcels / file).read_text(encoding="utf-8") for file in FILES]
    assert [text for text in texts if "{{" in text or "}}" in text] == []
    assert "# parcels" in (parcels / "README.md").read_text(encoding="utf-8").splitlines()


def test_everybody_may_read_it_whom_the_umask_lets(parcels):
    (parcels.parent / "plain").mkdir()
    assert parcels.stat().st_mode == (parcels.parent / "plain").stat().st_mode


def test_its_tests_pass_with_unittest(parcels):
    assert "\nOK" in run("python", "-W", "error", "-m", "unittest", "discover", "-s", "tests", cwd=parcels)


@pytest.mark.parametrize("command", [("pytest",), ("python", "-m", "pytest")], ids=" ".join)
def test_its_tests_pass_with_pytest(parcels, command):
    assert " passed in " in run(*command, "-q", "-p", "no:cacheprovider", "-W", "error", cwd=parcels)


def test_ruff_finds_nothing_by_its_defaults(parcels):
    run("ruff", "check", "--isolated", "--no-cache", cwd=parcels)
    run("ruff", "format", "--isolated", "--no-cache", "--check", cwd=parcels)


def test_its_actions_are_listed_and_called(parcels):
    listed = run("servey", "list", cwd=parcels)
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["list_planets", "get_planet", "weigh"]
    assert run("servey", "call", "weigh", "--weight", "70", "--planet", "mars", cwd=parcels) == "26.5\n"


@pytest.mark.parametrize("repository", [False, True], ids=["empty", "a new repository"])
def test_the_working_directory_will_do_when_it_is_empty(home, servey, repository):
    if repository:
        (home / ".git").mkdir()
    before = home.stat().st_ino
    outcome = servey("new", ".")
    assert outcome.code == 0
    assert "cd " not in outcome.out
    assert files_in(home) == set(FILES)
    assert home.stat().st_ino == before  # a shell in it is not left in one that is gone


def test_an_empty_directory_elsewhere_will_do(home, servey):
    (home / "some where").mkdir()
    outcome = servey("new", "some where")
    assert "\n  cd 'some where'\n" in outcome.out
    assert files_in(home / "some where") == set(FILES)
    assert "# some-where" in (home / "some where" / "README.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", ["mine", ".", "there/../mine"])
def test_a_directory_that_is_not_empty_is_left_alone(home, servey, monkeypatch, name):
    (home / "there").mkdir()
    (home / "mine").mkdir()
    (home / "mine" / "notes").write_text("mine", encoding="utf-8")
    if name == ".":
        monkeypatch.chdir(home / "mine")
    outcome = servey("new", name)
    assert (outcome.code, outcome.out) == (73, "")
    assert f"{name} is not empty, it has 'notes'" in outcome.err
    assert files_in(home) == {"mine/notes"}


def test_a_file_is_left_alone(home, servey):
    (home / "parcels").write_text("mine", encoding="utf-8")
    assert servey("new", "parcels").code == 73
    assert (home / "parcels").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["", "-parcels", ".parcels", "parcels.", "my parcels", "größe", "a\nb", 'a"b', "/"])
def test_a_name_that_is_none_is_refused(home, servey, name):
    outcome = servey("new", "--", name)
    assert outcome.code in (64, 73)
    assert (outcome.code == 73) == (name == "/")  # it is there
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("name", ["a" * 101, "a" * 300, "a" * 5000, "no/" * 2000 + "parcels"])
def test_a_name_that_is_too_long_is_refused(home, servey, name):
    outcome = servey("new", name)
    assert outcome.code in (64, 73)
    assert "Traceback" not in outcome.err
    assert "100 at most" in outcome.err or "there is no directory" in outcome.err
    assert list(home.iterdir()) == []


def test_its_document_has_its_name(parcels):
    assert "\nexport SERVEY_API_TITLE ?= parcels\n" in (parcels / "Makefile").read_text(encoding="utf-8")
    assert " SERVEY_API_TITLE=parcels\n" in (parcels / "Dockerfile").read_text(encoding="utf-8")


def test_where_there_is_no_directory_nothing_is_made(home, servey):
    outcome = servey("new", "no/parcels")
    assert (outcome.code, outcome.err) == (73, "Error: there is no directory no; make it first\n")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("at", range(1, len(FILES) + 1))
def test_when_the_disk_is_full_nothing_is_half_done(home, monkeypatch, servey, at, in_place):
    (home / ".git").mkdir()
    written = []

    def write_text(self, *args, **arguments):
        written.append(self)
        if len(written) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, *args, **arguments)

    original = Path.write_text
    monkeypatch.setattr(Path, "write_text", write_text)
    outcome = servey("new", "." if in_place else "parcels")
    assert outcome.code == 73
    assert "No space left on device; nothing was made" in outcome.err
    assert [path.name for path in home.iterdir()] == [".git"]


def test_what_appears_there_in_the_meantime_is_left_alone(home, monkeypatch, servey):
    def write_text(self, *args, **arguments):
        (home / "parcels").mkdir(exist_ok=True)
        original(home / "parcels" / "notes", "mine")
        return original(self, *args, **arguments)

    original = Path.write_text
    monkeypatch.setattr(Path, "write_text", write_text)
    assert servey("new", "parcels").code == 73
    assert files_in(home) == {"parcels/notes"}


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, os.strerror(errno.EACCES)), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(1, 9))
def test_when_a_file_cannot_be_moved_into_place_nothing_is_half_done(home, monkeypatch, at, error):
    moved = []

    def rename(self, target):
        moved.append(self)
        if len(moved) == at:
            raise error
        return original(self, target)

    original = Path.rename
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(type(error)):
        make(home)
    assert len(moved) == at
    assert list(home.iterdir()) == []


def test_it_works_while_the_directory_has_actions_that_do_not(home, servey):
    (home / "actions.py").write_text("1 / 0", encoding="utf-8")
    assert "Made" in run("servey", "new", "parcels", cwd=home)


@pytest.mark.parametrize(
    ("name", "package"), [("parcels", "parcels"), ("My_Parcels", "my-parcels"), ("a..b--c", "a-b-c"), ("ß", "service")]
)
def test_the_name_of_the_image_is_one(name, package):
    assert package_name(name) == package


@pytest.mark.parametrize(
    ("version", "expected"),
    [("6.0.0", ">=6.0.0,<7"), ("6.1.0rc1", ">=6.1.0rc1,<7"), ("12.3", ">=12.3,<13")],
)
def test_the_requirement_ends_before_the_next_release_that_may_break_it(version, expected):
    assert requirement(version) == f"servey[server]{expected}"
