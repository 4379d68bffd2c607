"""The branches for Windows and macOS, on a system that only seems to be one of them.

What their kernels do is imitated: which renames exist, that an open file is neither renamed nor
removed, and that a lock is of bytes. The modules' own `os` and `sys` are replaced, not Python's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import types

import pytest

from modelzoo.errors import OutputError
from modelzoo.files import (
    new_directory,
    renames,
    replacing,
    scratch,
    temporary,
    write_atomic,
    writing,
)
from modelzoo.runtime import user_cache
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.engines import pages, weight_store
from modelzoo.runtime.trust import trial
from tests.small import listing
from tests.written import model_directory

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="imitates the others on POSIX")


def like(module: types.ModuleType, **members) -> types.SimpleNamespace:
    """A module with other members; what is not in it does not exist there."""
    return types.SimpleNamespace(**{**vars(module), **members})


def write(path, text: str) -> None:
    with new_directory(path, force=True) as folder:
        model_directory(folder, text)


# === Windows ===


@pytest.fixture
def windows(monkeypatch) -> list[int]:
    """Windows as far as `files` sees it; gives the bytes that were locked."""
    locked, opened = [], {}

    def locking(descriptor: int, mode: int, count: int) -> None:
        locked.append(os.lseek(descriptor, 0, os.SEEK_CUR))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    def open_(path, *how) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        descriptor = os.open(path, *how)
        opened[descriptor] = os.fstat(descriptor).st_ino
        return descriptor

    def close(descriptor: int) -> None:
        opened.pop(descriptor, None)
        os.close(descriptor)

    def unless_open(function):
        def call(*paths):
            for path in filter(os.path.lexists, paths):
                if os.lstat(path).st_ino in opened.values():
                    raise PermissionError(errno.EACCES, "it is in use", str(path))
            return function(*paths)

        return call

    theirs = like(
        os,
        name="nt",
        open=open_,
        close=close,
        unlink=unless_open(os.unlink),
        replace=unless_open(os.replace),
        rename=unless_open(os.rename),
    )
    del theirs.getuid, theirs.geteuid, theirs.O_NOFOLLOW, theirs.O_NONBLOCK
    system = like(sys, platform="win32")
    for module in (temporary, renames, writing, user_cache):
        monkeypatch.setattr(module, "os", theirs)
    for module in (temporary, renames, user_cache):
        monkeypatch.setattr(module, "sys", system)
    msvcrt = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setattr(temporary, "msvcrt", msvcrt, raising=False)
    renames._function.cache_clear()
    yield locked
    renames._function.cache_clear()


def test_windows_replaces_files_and_folders(windows, tmp_path):
    for text in ("old", "new"):
        write(tmp_path / "model", text)
        write_atomic(tmp_path / "file", text)
    assert (tmp_path / "model" / "model.keras").read_text() == "new"
    assert (tmp_path / "file").read_text() == "new"
    assert [path for path in listing(tmp_path) if path.startswith(".")] == []
    assert set(windows) == {temporary._FAR}


def test_windows_knows_who_writes(windows, tmp_path):
    with temporary.locked(tmp_path / "m") as held:
        assert held
        with pytest.raises(temporary.Busy) as caught, temporary.locked(tmp_path / "m"):
            pass
    assert caught.value.pid == str(os.getpid())


def test_windows_restores_what_a_kill_moved_aside(windows, tmp_path):
    write(tmp_path / "model", "old")
    os.rename(tmp_path / "model", tmp_path / f".model.1-{'0' * 16}.old")
    (tmp_path / f".model.1-{'1' * 16}.tmp").mkdir()
    with writing.reserved(tmp_path / "model", force=True):
        assert (tmp_path / "model" / "model.keras").read_text() == "old"
    assert [name for name in os.listdir(tmp_path) if name.endswith((".tmp", ".old"))] == []


def test_windows_has_scratch_folders(windows):
    with scratch() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_windows_keeps_the_old_file_where_it_is_open(windows, tmp_path):
    write_atomic(tmp_path / "file", "old")
    reader = temporary.os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(OutputError, match="cannot write"), replacing(tmp_path / "file") as new:
        new.write_text("new")
    temporary.os.close(reader)
    assert listing(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_windows_has_no_modes_that_make_a_folder_private(windows, tmp_path):
    tmp_path.chmod(0o777)
    assert user_cache.is_private(tmp_path)


def test_without_modules_of_posix_a_trial_has_no_bounds_and_weights_no_locks(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    before = resource_limits()
    trial.bound(1.0, 1)
    assert resource_limits() == before
    assert weight_store._lock(0, shared=False) is True


def resource_limits() -> list[str]:
    with open("/proc/self/limits") as file:
        return file.readlines()


# === macOS ===


@pytest.fixture
def macos(monkeypatch) -> list[tuple]:
    """macOS as `renames` sees it; gives the calls of `renamex_np`."""
    calls, codes = [], []

    def renamex_np(source: bytes, target: bytes, flag: int) -> int:
        calls.append((source, target, flag))
        if codes:
            ctypes.set_errno(codes[0])
            return -1
        if flag == 4 and os.path.lexists(target):
            ctypes.set_errno(errno.EEXIST)
            return -1
        if flag == 2:
            os.rename(target, target + b".aside")
            os.rename(source, target)
            os.rename(target + b".aside", source)
        else:
            os.rename(source, target)
        return 0

    library = types.SimpleNamespace(renamex_np=lambda *ends: renamex_np(*ends))
    monkeypatch.setattr(renames, "sys", like(sys, platform="darwin"))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    renames._function.cache_clear()
    yield types.SimpleNamespace(calls=calls, codes=codes)
    renames._function.cache_clear()


def test_macos_renames_and_exchanges_in_one_step(macos, tmp_path):
    for text in ("old", "new"):
        write(tmp_path / "model", text)
    assert (tmp_path / "model" / "model.keras").read_text() == "new"
    assert [flag for _, _, flag in macos.calls] == [4, 2]
    assert all(target.endswith(b"/model") for _, target, _ in macos.calls)
    assert listing(tmp_path)[0] == "model"
    with pytest.raises(FileExistsError):
        renames.rename_new(tmp_path / "model" / "README.md", tmp_path / "model" / "model.keras")


def test_a_disk_of_macos_without_these_renames_takes_two(macos, tmp_path):
    macos.codes.append(errno.ENOTSUP)
    for text in ("old", "new"):
        write(tmp_path / "model", text)
    assert (tmp_path / "model" / "model.keras").read_text() == "new"
    macos.codes[0] = errno.EACCES
    with pytest.raises(OutputError, match=os.strerror(errno.EACCES)):
        write(tmp_path / "model", "newer")
    assert (tmp_path / "model" / "model.keras").read_text() == "new"


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_only_linux_tells_of_pages(monkeypatch, system):
    monkeypatch.setattr(pages, "sys", like(sys, platform=system))
    assert pages.huge_page_size() == 0
    assert pages.into_huge_pages(0, pages.mappings_of(0)) == []


def test_a_bundle_s_names_are_paths_on_no_system(tmp_path):
    from modelzoo.runtime.bundle import _is_inside

    assert Bundle(tmp_path, {"model": "a/b"}).model_path == tmp_path / "a" / "b"
    assert not any(map(_is_inside, ("C:/x", "C:x", "..\\x", "\\\\host\\x", "a/../b", "/x")))
