"""The SQLite file is created safely, and a place that cannot be used is refused with a way out."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from servey.errors import SettingsError
from servey.servey_thread import sqlite_place
from servey.servey_thread.sqlite_place import MIGRATIONS, connect

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(path: Path | str) -> str:
    with pytest.raises(SettingsError) as caught:
        connect(str(path))
    return str(caught.value)


@pytest.fixture
def as_a_user() -> Iterator[Path]:
    """An empty directory of a user whom permissions stop, and the test runs as that user."""
    directory = Path(tempfile.mkdtemp())
    user = os.geteuid()
    if user == 0:
        os.chown(directory, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        if not os.access(directory, os.W_OK, effective_ids=True):
            pytest.skip("other users cannot reach the directory for temporary files")
        yield directory
    finally:
        os.seteuid(user)
        directory.chmod(0o700)
        shutil.rmtree(directory)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_only_the_owner_can_read_the_new_files(tmp_path: Path):
    path = tmp_path / "deep" / ".servey" / "store.db"
    connection = connect(str(path))
    connection.execute("INSERT INTO entries VALUES ('key', x'', 0)")
    assert {file.name: mode(file) for file in path.parent.iterdir() if file.name != ".gitignore"} == {
        "store.db": 0o600,
        "store.db-shm": 0o600,
        "store.db-wal": 0o600,
    }
    assert mode(path.parent) == 0o700
    assert (path.parent / ".gitignore").read_text() == "*\n"
    connection.close()
    assert sorted(file.name for file in path.parent.iterdir()) == [".gitignore", "store.db"]


def test_an_existing_directory_gets_no_gitignore(tmp_path: Path):
    connect(str(tmp_path / "store.db")).close()
    assert [file.name for file in tmp_path.iterdir()] == ["store.db"]


def test_a_path_without_a_directory_is_in_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    connect("store.db").close()
    connect(".servey/store.db").close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [".servey", "store.db"]


def test_a_file_that_others_can_write_is_refused(tmp_path: Path):
    path = tmp_path / "store.db"
    connect(str(path)).close()
    path.chmod(0o602)
    text = refusal(path)
    assert "SERVEY_STORE" in text
    assert f"chmod 600 {path}" in text
    path.chmod(0o600)
    connect(str(path)).close()


def test_a_directory_in_which_others_can_replace_the_file_is_refused(tmp_path: Path):
    tmp_path.chmod(0o777)
    text = refusal(tmp_path / "store.db")
    assert "SERVEY_STORE" in text
    assert f"chmod o-w {tmp_path}" in text


@pytest.mark.parametrize(("directory", "file"), [(0o1777, 0o600), (0o2770, 0o660)])
def test_a_sticky_directory_and_one_of_a_group_are_accepted(tmp_path: Path, directory: int, file: int):
    """Kubernetes makes the files of a volume with an fsGroup writable for the group, at each start of a pod."""
    tmp_path.chmod(directory)
    path = tmp_path / "store.db"
    connect(str(path)).close()
    path.chmod(file)
    connect(str(path)).close()


def test_a_place_that_cannot_be_written_is_refused(as_a_user: Path):
    as_a_user.chmod(0o500)
    for path in (as_a_user / "store.db", as_a_user / ".servey" / "store.db"):
        text = refusal(path)
        assert f"SERVEY_STORE={path}" in text
        assert "SERVEY_STORE=memory" in text


def test_an_existing_file_that_cannot_be_written_is_refused(as_a_user: Path):
    path = as_a_user / "store.db"
    connect(str(path)).close()
    path.chmod(0o400)
    assert "SERVEY_STORE=memory" in refusal(path)
    path.chmod(0o600)
    as_a_user.chmod(0o500)  # the write-ahead log cannot be created
    assert "SERVEY_STORE=memory" in refusal(path)


def test_a_place_that_cannot_exist_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    for path in (tmp_path / "file" / "store.db", tmp_path / "directory", Path("/proc/servey/store.db")):
        assert "SERVEY_STORE=memory" in refusal(path)


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path):
    path = tmp_path / "store.db"
    path.write_bytes(b"no database " * 1000)
    assert "not a database" in refusal(path)
    assert path.read_bytes() == b"no database " * 1000


def test_a_corrupt_database_is_refused(tmp_path: Path):
    path = tmp_path / "store.db"
    connect(str(path)).close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996  # the first page has the tables
    path.write_bytes(content)
    assert "malformed" in refusal(path)


def test_the_database_of_another_program_is_refused(tmp_path: Path):
    path = tmp_path / "app.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE users (name)")
    other.close()
    assert "another program" in refusal(path)


def test_the_file_of_a_later_release_is_refused(tmp_path: Path):
    path = tmp_path / "store.db"
    later = connect(str(path))
    later.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    later.close()
    text = refusal(path)
    assert "SERVEY_STORE" in text
    assert "later release" in text


def test_the_file_of_an_earlier_release_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = str(tmp_path / "store.db")
    earlier = connect(path)
    earlier.execute("INSERT INTO entries VALUES ('key', x'01', 5)")
    earlier.close()
    monkeypatch.setattr(sqlite_place, "MIGRATIONS", (*MIGRATIONS, ("ALTER TABLE entries ADD COLUMN more",)))
    migrated = connect(path)
    assert migrated.execute("SELECT key, value, ends, more FROM entries").fetchall() == [("key", b"\x01", 5.0, None)]
    migrated.close()
    connect(path).close()  # once


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    path = tmp_path / "store.db"
    text = refusal(path)
    assert "SERVEY_STORE" in text
    assert "3.35" in text
    assert not path.exists()


def test_many_can_create_the_file_together(tmp_path: Path):
    def one(number: int) -> str:
        while True:
            try:
                connection = connect(str(tmp_path / "new" / "store.db"))
            except sqlite3.OperationalError as error:
                if sqlite_place.is_locked(error):
                    continue
                raise
            [mode] = connection.execute("PRAGMA journal_mode").fetchone()
            connection.close()
            return mode

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(16))) == ["wal"] * 16
