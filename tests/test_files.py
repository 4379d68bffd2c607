"""What is written is whole or not there, and nothing that is not ours is replaced."""

from __future__ import annotations

import os

import pytest

from modelzoo.errors import OutputError
from modelzoo.files import check_replaceable, new_directory, replacing, write_atomic
from tests.small import files_of_at_most, listing


def write(path, text="new", force=False):
    with new_directory(path, force) as folder:
        (folder / "manifest.json").write_text(text)


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
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "model", True) as folder:
        (folder / "manifest.json").write_text("half")
        1 / 0  # noqa: B018
    assert listing(tmp_path) == ["model", "model/manifest.json"]
    assert (tmp_path / "model" / "manifest.json").read_text() == "old"


def test_an_existing_one_is_replaced_only_with_force(tmp_path):
    write(tmp_path / "model", "old")
    with pytest.raises(OutputError, match="exists") as caught:
        write(tmp_path / "model")
    assert "--force" in caught.value.next_step
    write(tmp_path / "model", force=True)
    assert (tmp_path / "model" / "manifest.json").read_text() == "new"
    assert listing(tmp_path) == ["model", "model/manifest.json"]


def test_a_rename_that_fails_brings_the_old_one_back(tmp_path, monkeypatch):
    write(tmp_path / "model", "old")
    replace, calls = os.replace, []

    def fail_second(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(OutputError, match="Input/output error"):
        write(tmp_path / "model", force=True)
    assert (tmp_path / "model" / "manifest.json").read_text() == "old"
    assert listing(tmp_path) == ["model", "model/manifest.json"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_force_does_not_replace_what_is_not_ours(tmp_path, kind):
    target = tmp_path / "thesis"
    if kind == "folder":
        target.mkdir()
        (target / "chapter").write_text("precious")
    else:
        target.write_text("precious")
    before = listing(tmp_path)
    with pytest.raises(OutputError, match="no model directory, bundle or checkpoint"):
        write(target, force=True)
    assert listing(tmp_path) == before
    assert "precious" in (target / "chapter" if kind == "folder" else target).read_text()


def test_an_empty_folder_may_be_taken_with_force(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError):
        check_replaceable(tmp_path / "model", force=False)
    write(tmp_path / "model", force=True)
    assert listing(tmp_path) == ["model", "model/manifest.json"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "manifest.json").read_text() == "new"
    assert listing(tmp_path) == ["link", "real", "real/manifest.json"]


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "file" / "model")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_takes_its_name_when_it_is_complete(tmp_path):
    path = write_atomic(tmp_path / "file", "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == path.parent
    assert path.read_text() == "new"
    assert listing(tmp_path) == ["file"]


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


def test_a_directory_that_does_not_fit_leaves_nothing(tmp_path):
    with files_of_at_most(1000), pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "model", "x" * 2000)
    assert listing(tmp_path) == []
