"""What is written is whole or not there, and nothing that is not ours is replaced."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest

from modelzoo.errors import OutputError
from modelzoo.files import (
    foreign,
    new_directory,
    renames,
    replacing,
    reserved,
    scratch,
    temporary,
    write_atomic,
    writing,
)
from tests.plugin_site import ROOT
from tests.small import files_of_at_most, listing
from tests.written import KINDS, bundle, checkpoint, model_directory

FILES = ("README.md", "model.keras", "recipe.lock.toml")


def write(path, text="new", force=False):
    with new_directory(path, force) as folder:
        model_directory(folder, text)


def content(path: Path) -> str:
    return (path / "model.keras").read_text()


@pytest.fixture(params=["one step", "two renames"])
def renaming(request, monkeypatch):
    """Each way to take a place; the second is that of systems without an exchange."""
    if request.param == "two renames":
        monkeypatch.setattr(renames, "_function", lambda: None)
    elif sys.platform not in ("linux", "darwin"):
        pytest.skip("this system has no exchange")


# === Directories ===


def test_a_directory_takes_its_name_when_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "model"
    with new_directory(target) as folder:
        assert not target.exists() and folder.parent == target.parent
        (folder / "a").write_text("1")
    assert listing(tmp_path) == ["deep", "deep/model", "deep/model/a"]


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "model") as folder:
        (folder / "half").write_text("1")
        1 / 0  # noqa: B018
    assert listing(tmp_path) == []


def test_an_error_leaves_the_old_one_as_it_was(tmp_path):
    write(tmp_path / "model", "old")
    before = listing(tmp_path)
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "model", True) as folder:
        (folder / "model.keras").write_text("half")
        1 / 0  # noqa: B018
    assert listing(tmp_path) == before
    assert content(tmp_path / "model") == "old"


def test_an_existing_one_is_replaced_only_with_force(renaming, tmp_path):
    write(tmp_path / "model", "old")
    before = listing(tmp_path)
    with pytest.raises(OutputError, match="exists") as caught:
        write(tmp_path / "model")
    assert "force=True" in caught.value.next_step
    write(tmp_path / "model", force=True)
    assert content(tmp_path / "model") == "new"
    assert listing(tmp_path) == before


def test_a_rename_that_fails_brings_the_old_one_back(tmp_path, monkeypatch):
    write(tmp_path / "model", "old")
    before = listing(tmp_path)

    def fail(source, target):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(writing, "exchange", lambda one, other: False)
    monkeypatch.setattr(writing, "rename_new", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        write(tmp_path / "model", force=True)
    assert content(tmp_path / "model") == "old"
    assert listing(tmp_path) == before


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
def test_an_output_on_another_file_system_is_replaced_there(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        assert os.stat(other).st_dev != os.stat(tmp_path).st_dev
        (tmp_path / "link").symlink_to(Path(other) / "model")
        for text in ("old", "new"):
            write(tmp_path / "link", text, force=True)
            write_atomic(Path(other) / "file", text)
        assert content(Path(other) / "model") == "new"
        assert listing(Path(other)) == ["file", "model", *sorted(map("model/{}".format, FILES))]


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EBUSY])
def test_a_folder_that_cannot_be_renamed_stays(renaming, tmp_path, monkeypatch, code):
    """One in which another file system is mounted."""
    write(tmp_path / "model", "old")

    def fails(*ends):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(writing, "exchange", fails if renames._function() else lambda *ends: False)
    monkeypatch.setattr(writing.os, "rename", fails)
    with pytest.raises(OutputError, match=os.strerror(code)):
        write(tmp_path / "model", "new", force=True)
    monkeypatch.undo()
    assert content(tmp_path / "model") == "old" and os.listdir(tmp_path) == ["model"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"link", "real"}
    (tmp_path / "real" / "notes.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        write(tmp_path / "link", "newer", force=True)
    assert (tmp_path / "real" / "notes.txt").read_text() == "precious"


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "file" / "model")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_directory_that_does_not_fit_leaves_nothing(tmp_path):
    with files_of_at_most(1000), pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "model", "x" * 2000)
    assert listing(tmp_path) == []


# === What may be replaced ===


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_that_we_write_is_replaced_with_force(tmp_path, kind):
    KINDS[kind](tmp_path / "model")
    assert foreign(tmp_path / "model") is None
    write(tmp_path / "model", force=True)
    assert content(tmp_path / "model") == "new"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["notes.txt", "src/main.py", ".git/HEAD", "1_Pooling/mine"])
def test_one_file_of_somebody_else_keeps_the_folder(tmp_path, kind, name):
    folder = KINDS[kind](tmp_path / "model")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("precious")
    before = listing(tmp_path)
    with pytest.raises(OutputError) as caught:
        write(folder, force=True)
    assert f"model holds {name}, which modelzoo did not write" in caught.value.what
    assert "move it away" in caught.value.next_step
    assert listing(tmp_path) == before and (folder / name).read_text() == "precious"


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_in_a_folder_is_somebody_elses(tmp_path, kind):
    folder = KINDS[kind](tmp_path / "model")
    (folder / "data").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="holds data"):
        write(folder, force=True)


def test_a_mark_that_was_edited_is_no_mark(tmp_path):
    edits = {
        "recipe.lock.toml": (model_directory, "gpt", "bert"),
        "modelzoo.json": (checkpoint, "config.json", "thesis.json"),
    }
    for name, (make, before, after) in edits.items():
        folder = make(tmp_path / name)
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(before, after, 1))
        with pytest.raises(OutputError, match="modelzoo did not write"):
            write(folder, force=True)
    folder = bundle(tmp_path / "bundle")
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('toml": "', 'toml": "0'))
    with pytest.raises(OutputError, match=r"holds manifest\.json"):
        write(folder, force=True)


PROJECTS = {
    "npm": {"package.json": '{"name": "shop"}', "manifest.json": "{}", "src/app.js": "1"},
    "extension": {"manifest.json": '{"manifest_version": 3, "files": {}}', "background.js": "1"},
    "git": {".git/HEAD": "ref: refs/heads/main", "recipe.lock.toml": "[lock]\nformat_version = 1"},
    "notes": {"config.json": '{"architectures": []}', "model.safetensors": "x", "notes.txt": "1"},
    "weights": {"model.safetensors": "x"},
    "download": {
        "config.json": '{"architectures": ["A"], "transformers_version": "5", "dtype": "float32"}',
        "model.safetensors": "x",
        "tokenizer.json": "{}",
    },
    "old download": {"config.json": '{"architectures": ["A"]}', "model.safetensors": "x"},
    "keras": {"model.keras": "x"},
    "web app": {"manifest.json": '{"format_version": 1, "files": {"app.js": "0"}}', "app.js": "1"},
    "python": {"pyproject.toml": "[project]", "README.md": "# mine"},
    "modelzoo": {"modelzoo.json": '{"format_version": 1, "files": ["a"], "digest": ""}', "a": "1"},
    "list": {"manifest.json": "[1]", "modelzoo.json": "[]", "recipe.lock.toml": "lock = 1"},
}


def project(folder: Path, name: str) -> Path:
    for file, text in PROJECTS[name].items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.mark.parametrize("name", PROJECTS)
def test_the_folder_of_a_project_survives_force(tmp_path, name):
    project(tmp_path / name, name)
    with pytest.raises(OutputError, match="holds .*, which modelzoo did not write"):
        write(tmp_path / name, force=True)
    assert read(tmp_path / name) == PROJECTS[name]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "thesis").write_text("precious")
    with pytest.raises(OutputError, match="is a file, and is not"):
        write(tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis").read_text() == "precious"


def test_an_empty_folder_may_be_taken_with_force(renaming, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError, match="exists"), reserved(tmp_path / "model"):
        pass
    write(tmp_path / "model", force=True)
    assert content(tmp_path / "model") == "new"


def test_all_that_0_1_wrote_may_be_replaced_until_something_is_added(tmp_path):
    with zipfile.ZipFile(ROOT / "tests" / "written_by_0.1.zip") as archive:
        archive.extractall(tmp_path)
    folders = [path for path in sorted(tmp_path.iterdir()) if path.is_dir()]
    assert len(folders) == 14
    assert [path.name for path in folders if foreign(path) is not None] == []
    for folder in folders:
        (folder / "notes.txt").write_text("precious")
    assert {foreign(path) for path in folders} <= {"notes.txt", "config.json"}


# === Who else writes there ===


def test_what_came_up_meanwhile_stays_and_so_does_the_finished_work(renaming, tmp_path):
    for number in ("", "-2"):
        with (
            pytest.raises(OutputError, match="is whole in") as caught,
            new_directory(tmp_path / "model") as folder,
        ):
            model_directory(folder, "new")
            (tmp_path / "model").mkdir(exist_ok=True)
            (tmp_path / "model" / "mine").write_text("precious")
        kept = tmp_path / f"model.new{number}"
        assert str(kept) in caught.value.what and content(kept) == "new"
        assert read(tmp_path / "model") == {"mine": "precious"}
        (tmp_path / "model" / "mine").unlink()
        (tmp_path / "model").rmdir()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("change", ["added", "another"])
def test_what_was_changed_meanwhile_is_not_replaced(renaming, tmp_path, change):
    model_directory(tmp_path / "model")
    with (
        pytest.raises(OutputError, match="changed by somebody else"),
        new_directory(tmp_path / "model", force=True) as folder,
    ):
        model_directory(folder, "new")
        if change == "added":
            (tmp_path / "model" / "notes.txt").write_text("precious")
        else:
            (tmp_path / "model").rename(tmp_path / "before")
            model_directory(tmp_path / "model", "another")
    assert content(tmp_path / "model") == ("old" if change == "added" else "another")
    assert content(tmp_path / "model.new") == "new"


@pytest.mark.parametrize("change", ["added", "another"])
def test_a_change_in_the_very_last_moment_is_seen(renaming, tmp_path, monkeypatch, change):
    """It comes after the look and before the exchange."""
    target = model_directory(tmp_path / "model")
    look, looks = writing.foreign, []

    def look_and_change(path):
        found = look(path)
        looks.append(path)
        if len(looks) == 2 and change == "added":
            (target / "notes.txt").write_text("precious")
        elif len(looks) == 2:
            target.rename(tmp_path / "before")
            model_directory(target, "another")
        return found

    monkeypatch.setattr(writing, "foreign", look_and_change)
    with pytest.raises(OutputError, match="changed by somebody else"):
        write(target, force=True)
    assert content(target) == ("old" if change == "added" else "another")
    assert content(tmp_path / "model.new") == "new"
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(".")]) == 0


def test_what_comes_up_between_two_renames_loses_nothing(tmp_path, monkeypatch):
    target = model_directory(tmp_path / "model")

    def come_up(new, path):
        if path == target:
            model_directory(path, "another")
        return rename_new(new, path)

    rename_new = writing.rename_new
    monkeypatch.setattr(writing, "exchange", lambda one, other: False)
    monkeypatch.setattr(writing, "rename_new", come_up)
    with pytest.raises(OutputError, match="changed by somebody else"):
        write(target, force=True)
    found = {path.name: content(path) for path in tmp_path.iterdir()}
    assert found == {"model": "another", "model.new": "old", "model.new-2": "new"}


def test_only_one_at_a_time_writes_an_output(tmp_path):
    target = tmp_path / "model"
    code = "import sys; from modelzoo.files import reserved\nwith reserved(sys.argv[1]): pass"
    with reserved(target):
        other = subprocess.run(
            [sys.executable, "-c", code, target], cwd=ROOT, capture_output=True, text=True
        )
        assert f"model is being written by process {os.getpid()}" in other.stderr
        write(target)  # the one that has reserved it
    assert listing(tmp_path)[0] == "model" and not list(tmp_path.glob(".*"))


def test_another_thread_waits_its_turn_too(tmp_path):
    errors = []

    def attempt():
        try:
            write(tmp_path / "model")
        except OutputError as error:
            errors.append(error.what)

    with reserved(tmp_path / "model"):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert len(errors) == 1 and "is being written" in errors[0]


def test_a_reservation_covers_two_writings_but_not_without_force(tmp_path):
    with reserved(tmp_path / "model"):
        write(tmp_path / "model", "first")
        with pytest.raises(OutputError, match="exists"):
            write(tmp_path / "model", "second")
        write(tmp_path / "model", "second", force=True)
    assert content(tmp_path / "model") == "second"


# === What killed processes leave ===


def killed(code: str, *words: object) -> int:
    """The number of a process that has run `code` and was killed."""
    code += "\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], cwd=ROOT)
    process.wait(timeout=60)
    return process.pid


def test_the_next_writing_of_the_same_name_removes_litter_and_nothing_else(tmp_path):
    code = (
        "import sys; from modelzoo.files import new_directory, replacing\n"
        "a = new_directory(sys.argv[1] + '/model'); (a.__enter__() / 'half').write_text('1')\n"
        "b = replacing(sys.argv[1] + '/file'); b.__enter__().write_text('half')"
    )
    pid = killed(code, tmp_path)
    assert len(list(tmp_path.glob(f".model.{pid}-*.tmp/half"))) == 1
    assert len(list(tmp_path.glob(f".file.{pid}-*.tmp"))) == 1
    theirs = (".model.12.tmp", ".model.notes.tmp", f".model.{pid}-0123.tmp", ".file.tmp")
    for name in theirs:
        (tmp_path / name).write_text("precious")
    link = tmp_path / f".model.{pid}-{'0' * 16}.tmp"
    link.symlink_to(tmp_path)
    with replacing(tmp_path / "other") as other:  # in use
        write(tmp_path / "model")
        write_atomic(tmp_path / "file", "new")
        write_atomic(tmp_path / "other", "newer")
        other.write_text("new")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"model", "file", "other", link.name, *theirs}
    assert (tmp_path / "other").read_text() == "new"


def test_what_a_kill_between_two_renames_moved_aside_comes_back(tmp_path):
    model_directory(tmp_path / f".model.99-{'0' * 16}.old")
    model_directory(tmp_path / f".model.99-{'1' * 16}.tmp", "new")
    with pytest.raises(OutputError, match="exists"):
        write(tmp_path / "model")
    assert content(tmp_path / "model") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    model_directory(tmp_path / f".model.99-{'0' * 16}.old", "older")
    write(tmp_path / "model", force=True)
    assert content(tmp_path / "model") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.skipif(os.name == "nt", reason="a folder cannot be locked")
def test_scratch_folders_of_killed_processes_go_and_those_in_use_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code = "from modelzoo.files import scratch\na = scratch(); (a.__enter__() / 'x').write_text('')"
    killed(code)
    assert len(list(tmp_path.glob("modelzoo-*/x"))) == 1
    (tmp_path / "modelzoo-mine").mkdir()
    with scratch() as one, scratch() as two:
        assert {path.name for path in tmp_path.iterdir()} == {"modelzoo-mine", one.name, two.name}
        assert one.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["modelzoo-mine"]


def test_where_there_are_no_locks_nothing_is_swept(tmp_path, monkeypatch):
    half = tmp_path / f".model.99-{'0' * 16}.tmp"
    half.mkdir()
    monkeypatch.setattr(temporary, "_try_lock", lambda descriptor: None)
    write(tmp_path / "model")
    write_atomic(tmp_path / "file", "new")
    assert {path.name for path in tmp_path.iterdir()} == {half.name, "model", "file"}


def test_a_name_that_waits_as_a_link_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "target").write_text("precious")
    monkeypatch.setattr(temporary, "_owner", lambda: "1-0123456789abcdef")
    (tmp_path / ".file.1-0123456789abcdef.tmp").symlink_to("target")
    (tmp_path / ".model.modelzoo-lock").symlink_to("target")
    with pytest.raises(OutputError, match="File exists"):
        write_atomic(tmp_path / "file", "new")
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "model")
    assert (tmp_path / "target").read_text() == "precious"
    assert (tmp_path / ".file.1-0123456789abcdef.tmp").is_symlink()


def test_names_of_unfinished_files_differ_each_time(tmp_path):
    names = {temporary.beside(tmp_path / "a", "tmp").name for _ in range(100)}
    assert len(names) == 100 and {len(name.partition("-")[2]) for name in names} == {20}


# === What lasts through a power failure ===


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(writing, "sync", lambda path: steps.append(path.name[:5]))
    monkeypatch.setattr(writing, "sync_tree", lambda path: steps.append("tree"))
    monkeypatch.setattr(writing, "rename_new", lambda one, two: steps.append("rename"))
    monkeypatch.setattr(os, "replace", lambda one, two: steps.append("replace"))
    with replacing(tmp_path / "file"):
        pass
    assert steps == [".file", "replace", tmp_path.name[:5]]
    steps.clear()
    with new_directory(tmp_path / "model"):
        pass
    assert steps == ["tree", "rename", tmp_path.name[:5]]


def test_every_file_and_folder_of_a_tree_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(renames, "sync", lambda path: synced.append(path.name))
    bundle(tmp_path / "b")
    renames.sync_tree(tmp_path / "b")
    assert sorted(synced) == sorted([*(Path(name).name for name in listing(tmp_path / "b")), "b"])


@pytest.mark.parametrize(("code", "raises"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_disk_that_fails_is_told_and_one_that_does_not_exist_is_none(
    tmp_path, monkeypatch, code, raises
):
    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    if raises:
        with pytest.raises(OutputError, match="Input/output error"):
            write_atomic(tmp_path / "file", "new")
    else:
        assert write_atomic(tmp_path / "file", "new").read_text() == "new"


# === Files ===


def test_a_file_takes_its_name_when_it_is_complete(tmp_path):
    path = write_atomic(tmp_path / "file", "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == path.parent
    assert path.read_text() == "new"
    assert listing(tmp_path) == ["file"]


def test_a_file_has_the_mode_that_the_user_gives_files(tmp_path):
    mode = os.umask(0o027)
    try:
        assert write_atomic(tmp_path / "file", "x").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(mode)


def test_any_error_leaves_the_file_as_it_was_and_comes_through(tmp_path):
    path = write_atomic(tmp_path / "file", b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["file"]


def test_an_error_calls_the_file_by_its_title(tmp_path):
    (tmp_path / "file").write_text("precious")
    with (
        pytest.raises(OutputError, match="cannot write the list: Not a directory") as caught,
        replacing(tmp_path / "file" / "list", title="the list", next_step="try") as temporary,
    ):
        temporary.write_text("x")
    assert caught.value.next_step == "try"
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path):
    path = write_atomic(tmp_path / "file", "old")
    with files_of_at_most(1000), pytest.raises(OutputError, match="cannot write"):
        write_atomic(path, "x" * 2000)
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["file"]


def test_a_folder_that_became_read_only_is_an_output_error(tmp_path, monkeypatch):
    """The unfinished file cannot be removed then, and that is not what is reported."""

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with (
        pytest.raises(OutputError, match="cannot write .*file: Read-only file system"),
        replacing(tmp_path / "file"),
    ):
        monkeypatch.setattr(os, "replace", refuse)
        monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.undo()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match="cannot write .*model: Read-only file system"):
        write(tmp_path / "model")


def test_python_is_told_of_pythons_argument(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError) as caught, new_directory(tmp_path / "model"):
        pass
    assert caught.value.next_step.endswith("force=True to replace it")
