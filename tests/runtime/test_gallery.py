"""A gallery: the names that a bundle carries, and the nearest of them to a text or an image."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from modelzoo.cli import main
from modelzoo.cli.media_inputs import ability_for
from modelzoo.errors import BundleError, ModelzooError
from modelzoo.runtime import load
from modelzoo.runtime.bundle import read_bundle, write_manifest
from modelzoo.runtime.search.gallery import read_gallery, write_gallery
from tests import docstring_folder, media

NAMES, VECTORS = ["🐱 cat", "🐶 dog", "🟩 green"], [[2.0, 0, 0], [0, 0, 1], [0, 1, 0]]
HOW = {"image": docstring_folder.IMAGE, "contrastive": {"scales": {"image-text": 3.9}}}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A bundle in whose space a cat is red, and a dog is blue."""
    path = tmp_path_factory.mktemp("gallery") / "clip.bundle"
    says = ["a photo of a cat", "a photo of a dog"]
    docstring_folder._write(path, "contrastive", says, docstring_folder._clip, lambda _: HOW)
    return path


@pytest.fixture(scope="module")
def bundle(plain, tmp_path_factory):
    path = tmp_path_factory.mktemp("gallery") / "emoji.bundle"
    shutil.copytree(plain, path)
    write_gallery(path, NAMES, VECTORS)
    return path


def test_a_text_finds_the_nearest_name_and_probabilities_are_over_all(bundle):
    answer = load(bundle).nearest("a dog", top=None)
    assert answer[0][0] == "🐶 dog" and {name for name, _ in answer} == {*NAMES}
    assert sum(value for _, value in answer) == pytest.approx(1)
    assert answer[0][1] == pytest.approx(np.exp(3.9) / (np.exp(3.9) + 2))


def test_an_image_finds_it_too_as_array_and_as_file(bundle, tmp_path):
    model = load(bundle)
    assert model.nearest(media.picture("red"), top=1)[0][0] == "🐱 cat"
    media.write_picture(tmp_path / "a.png", media.picture("blue"))
    assert model.nearest(str(tmp_path / "a.png"), top=1)[0][0] == "🐶 dog"


def test_a_list_gives_a_list(bundle):
    model = load(bundle)
    answers = model.nearest(["a dog", "a cat"], top=1)
    assert [answer[0][0] for answer in answers] == ["🐶 dog", "🐱 cat"]
    assert model.nearest([]) == []


def test_a_name_with_several_vectors_is_one_answer(bundle, tmp_path):
    path = tmp_path / "twice.bundle"
    shutil.copytree(bundle, path)
    write_gallery(path, ["cat", "pet", "pet"], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    model = load(path)
    for query, first in (("a dog", "pet"), ("a cat", "cat")):
        answer = model.nearest(query)
        assert answer[0][0] == first and {name for name, _ in answer} == {"cat", "pet"}


def test_the_directions_survive_in_a_byte_a_number(bundle, tmp_path):
    path = tmp_path / "many.bundle"
    shutil.copytree(bundle, path)
    vectors = np.random.default_rng(0).normal(size=(50, 3)) * np.geomspace(1e-3, 1e3, 50)[:, None]
    write_gallery(path, [str(n) for n in range(50)], vectors)
    kept = read_gallery(read_bundle(path)).vectors
    right = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (kept * right).sum(1).min() > 0.9999


def test_a_bundle_without_a_gallery_cannot(plain):
    model = load(plain)
    assert "nearest" not in model.abilities
    with pytest.raises(ModelzooError, match="cannot `nearest`"):
        model.nearest("a dog")


def test_the_command_line_takes_it_first(bundle, capsys):
    assert main(["run", str(bundle), "a dog", "--top", "1"]) == 0
    assert capsys.readouterr().out == "0.9611  🐶 dog\n"
    assert main(["run", str(bundle), "a cat", "--json"]) == 0
    (first, *_) = json.loads(capsys.readouterr().out)["labels"]
    assert first["label"] == "🐱 cat"


def test_the_command_line_still_takes_labels_for_a_file(tmp_path):
    able = ("nearest", "zero_shot", "embed", "embed_text", "embed_image")
    path = str(tmp_path / "a.png")
    (tmp_path / "a.png").touch()
    assert ability_for(path, able) == "nearest"
    assert ability_for("a dog", able) == "nearest"
    assert ability_for(path, able, ["cat", "dog"]) == "zero_shot"


def test_a_second_gallery_replaces_the_first(bundle, tmp_path):
    path = tmp_path / "again.bundle"
    shutil.copytree(bundle, path)
    manifest = write_gallery(path, ["one"], [[1, 0, 0]])
    assert manifest["gallery"] == {"names": "gallery.json", "vectors": "gallery.npy"}
    assert load(path).nearest("a dog") == [("one", 1.0)]


@pytest.mark.parametrize("vectors", [np.ones((2, 3)), np.ones(3), np.full((3, 3), np.nan)])
def test_vectors_that_do_not_fit_are_refused_and_nothing_is_written(bundle, vectors):
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(ModelzooError, match="vectors|NaN"):
        write_gallery(bundle, NAMES, vectors)
    assert (bundle / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("names", "what"),
    [(["a"], "1 names need as many vectors"), (["a", "b", 3], "must be texts"), ({}, "list")],
)
def test_a_damaged_gallery_is_a_bundle_error(bundle, tmp_path, names, what):
    path = tmp_path / "bad.bundle"
    shutil.copytree(bundle, path)
    (path / "gallery.json").write_text(json.dumps(names))
    write_manifest(path, json.loads((path / "manifest.json").read_text()))
    with pytest.raises(BundleError, match=what):
        read_gallery(read_bundle(path))


def test_a_gallery_outside_the_hashes_is_refused(bundle, tmp_path):
    path = tmp_path / "bad.bundle"
    shutil.copytree(bundle, path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["gallery"]["names"] = "../names.json"
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="outside the bundle"):
        load(path)
