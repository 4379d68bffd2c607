"""run, search and train with pictures and sounds, as the command line sees them."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.cli import main
from modelzoo.cli.media_inputs import ability_for
from modelzoo.errors import DataError, ModelzooError
from tests import media

LABELS = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return media.photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    """A model directory of a classifier that knows its colours."""
    keras.utils.set_random_seed(0)
    built = modelzoo.build(media.vit_recipe(LABELS))
    built.fit(modelzoo.dataset(built, folder), epochs=12, verbose=0, shuffle=False)
    return modelzoo.save(built, tmp_path_factory.mktemp("model") / "vit")


def output(capsys, *argv) -> str:
    code = main([*map(str, argv)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def refusal(capsys, *argv) -> str:
    code = main([*map(str, argv)])
    captured = capsys.readouterr()
    assert code == 2 and "Traceback" not in captured.err
    return captured.err


# === What an input is ===


@pytest.mark.parametrize(
    ("able", "text", "labels", "ability"),
    [
        (("classify", "embed_image"), "a.png", None, "classify"),
        (("embed", "embed_image", "zero_shot", "embed_text"), "a.png", None, "embed_image"),
        (("embed", "embed_image", "zero_shot", "embed_text"), "a cat", None, "embed"),
        (("embed", "embed_image", "zero_shot", "embed_text"), "a.png", ["cat"], "zero_shot"),
        (("embed", "embed_image", "embed_audio"), "a.wav", None, "embed_audio"),
        (("caption",), "a.png", None, "caption"),
        (("transcribe",), "a.wav", None, "transcribe"),
        (("generate",), "a.png", None, "generate"),  # a text model reads no files
        (("classify", "embed"), "a.png", None, "classify"),
    ],
)
def test_a_path_that_exists_is_a_file_where_the_model_reads_files(
    tmp_path, monkeypatch, able, text, labels, ability
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.wav"):
        (tmp_path / name).write_bytes(b"x")
    assert ability_for(text, able, labels) == ability


def test_a_file_that_is_not_there_is_no_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(b"x")
    for able in (("classify", "embed_image"), ("embed", "embed_image")):
        with pytest.raises(DataError, match="no such file: phot.png") as error:
            ability_for("phot.png", able)
        assert error.value.did_you_mean == "photo.png"
    with pytest.raises(DataError, match="no such file: a red apple"):
        ability_for("a red apple", ("classify", "embed_image"))
    with pytest.raises(DataError, match="no such file"):
        ability_for("x" * 5000, ("classify", "embed_image"))


def test_labels_need_a_model_that_compares(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelzooError, match="--label does not fit"):
        ability_for("photo.png", ("classify", "embed_image"), ["cat"])
    with pytest.raises(ModelzooError, match="--label is for files"):
        ability_for("a cat", ("embed", "embed_image", "zero_shot"), ["cat"])


# === run ===


def test_run_classifies_a_file(model, folder, capsys):
    printed = output(capsys, "run", model, folder / "red" / "0.png", "--top", "2")
    lines = [line.split() for line in printed.splitlines()]
    assert len(lines) == 2 and lines[0][1] == "red" and float(lines[0][0]) > 0.4
    found = json.loads(output(capsys, "run", model, folder / "blue" / "1.png", "--json"))
    assert found["labels"][0]["label"] == "blue" and len(found["labels"]) == 3


def test_run_refuses_what_does_not_fit(model, folder, tmp_path, capsys):
    path = folder / "red" / "0.png"
    assert "no such file" in refusal(capsys, "run", model, "redd.png")
    assert "--label does not fit" in refusal(capsys, "run", model, path, "--label", "x")
    assert "--prompt does not fit" in refusal(capsys, "run", model, path, "--prompt", "what?")
    assert "--max-new-tokens does" in refusal(capsys, "run", model, path, "--max-new-tokens", 3)
    for content in (b"", b"\x89PNG\r\n\x1a\n", path.read_bytes()[:50]):
        (tmp_path / "bad.png").write_bytes(content)
        assert "bad.png" in refusal(capsys, "run", model, tmp_path / "bad.png")


# === search ===


def places(printed: str) -> list[str]:
    return [line.split()[1] for line in printed.splitlines()]


def test_search_finds_pictures_like_a_picture(model, folder, tmp_path, capsys):
    query = media.write_picture(tmp_path / "query.png", media.picture("green", 99))
    printed = output(capsys, "search", model, query, "--in", folder, "--top", "4")
    assert {place.split("/")[-2] for place in places(printed)} == {"green"}
    found = json.loads(output(capsys, "search", model, query, "--in", folder, "--json"))
    assert found["files"] == 12 and found["results"][0]["score"] > 0.9


def test_an_index_embeds_only_what_is_new_whatever_it_is_called(
    model, folder, tmp_path, capsys, monkeypatch
):
    import shutil

    from modelzoo.tasks.media_classification import MediaClassifier

    photos, asked = tmp_path / "photos", []
    shutil.copytree(folder, photos)
    embed_image = MediaClassifier.embed_image

    def watched(self, image):
        asked.extend(image if isinstance(image, list) else [image])
        return embed_image(self, image)

    monkeypatch.setattr(MediaClassifier, "embed_image", watched)
    query = media.write_picture(tmp_path / "query.png", media.picture("red", 99))
    argv = ("search", model, query, "--in", photos, "--index", tmp_path / "i.npz", "--top", 3)
    first = output(capsys, *argv)
    assert len(asked) == 1 + 12
    asked.clear()
    (photos / "red" / "0.png").rename(photos / "moved.png")
    media.write_picture(photos / "new.png", media.picture("red", 50))
    second = output(capsys, *argv)
    assert asked == [query, photos / "new.png"]
    assert len(places(first)) == len(places(second)) == 3


def test_a_contact_sheet_shows_what_was_found(model, folder, tmp_path, capsys):
    from PIL import Image

    query = folder / "blue" / "0.png"
    sheet = tmp_path / "hits.png"
    output(capsys, "search", model, query, "--in", folder, "--top", "4", "--sheet", sheet)
    pixels = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
    assert pixels.shape == (192 + 40 + 24, 4 * 204 + 12, 3)
    # A picture of 12 x 10 is shown at its own size, in the middle of its tile.
    for column in range(4):
        r, g, b = pixels[12 + 96, 12 + 204 * column + 96]
        assert b > 150 and r < 90 and g < 90


def test_a_bad_file_ends_a_search_or_is_left_out_and_told_of_each_time(
    model, folder, tmp_path, capsys
):
    import shutil

    photos = tmp_path / "photos"
    shutil.copytree(folder, photos)
    (photos / "bad.png").write_bytes(b"no picture")
    query = folder / "blue" / "0.png"
    argv = ("search", model, query, "--in", photos, "--index", tmp_path / "i.npz")
    assert "bad.png" in refusal(capsys, *argv)
    for _ in range(2):
        assert main([*map(str, argv), "--on-bad-file", "skip", "--top", "50"]) == 0
        captured = capsys.readouterr()
        assert captured.err.count("left out") == 1 and "bad.png" in captured.err
        assert len(captured.out.splitlines()) == 12 and "bad.png" not in captured.out


def test_words_need_a_model_that_embeds_texts(model, folder, tmp_path, capsys):
    assert "the query must be a file" in refusal(capsys, "search", model, "red", "--in", folder)
    (tmp_path / "a.txt").write_text("some words\n")
    assert "does not embed text" in refusal(capsys, "search", model, "red", "--in", tmp_path)
    message = refusal(capsys, "search", model, "red", "--in", folder, "--sheet", "hits.jpg")
    assert "--sheet takes a file that ends in .png" in message


# === train, evaluate ===


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'architecture = "vit"\ntask = "image-classification"\n'
        "[model]\nimage_size = 8\npatch_size = 4\nnum_layers = 1\nhidden_dim = 16\nnum_heads = 2\n"
        "[train]\nbatch_size = 4\nlearning_rate = 5e-3\nsteps = 30\nvalidation_fraction = 0.25\n"
    )
    return path


def test_train_on_a_folder_then_evaluate_on_a_table_then_run(recipe, folder, tmp_path, capsys):
    out = tmp_path / "out"
    output(capsys, "train", recipe, "--data", folder, "-o", out)
    table = tmp_path / "x.csv"
    rows = [f"{path},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    table.write_text("\n".join(["image,label", *rows]))
    printed = output(capsys, "evaluate", out, "--data", table, "--json")
    assert json.loads(printed)["accuracy"] > 0.7
    assert "red" in output(capsys, "run", out, folder / "red" / "2.png", "--top", "1")


def test_train_tells_of_bad_files_and_of_missing_ones(recipe, folder, tmp_path, capsys):
    import shutil

    photos, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(folder, photos)
    (photos / "red" / "bad.png").write_bytes(b"")
    message = refusal(capsys, "train", recipe, "--data", photos, "-o", out)
    assert "bad.png" in message and "--set train.on_bad_file=skip" in message
    argv = ["train", recipe, "--data", photos, "-o", out, "--set", "train.on_bad_file=skip"]
    assert main([*map(str, argv)]) == 0
    assert "bad.png" in capsys.readouterr().err
    table = tmp_path / "x.csv"
    table.write_text("image,label\ngone.png,red\n")
    assert "no such file" in refusal(capsys, "train", recipe, "--data", table, "-o", tmp_path / "b")
    message = refusal(capsys, "train", recipe, "--data", tmp_path / "fotos", "-o", tmp_path / "b")
    assert "photos" in message


# === A model that compares pictures with words ===

CLIP = {
    "embed_dim": 8,
    "image.model.image_size": 8,
    "image.model.widths": [8, 16],
    "image.model.dropout": 0.0,
    "text.model.num_layers": 1,
    "text.model.hidden_dim": 16,
    "text.model.num_heads": 2,
    "text.model.ffn_dim": 32,
    "text.model.vocab_size": 600,
    "text.model.max_length": 32,
    "task_options.augment": None,
    "train.length": 32,
    "train.batch_size": 6,
    "train.learning_rate": 1e-2,
    "train.warmup_steps": 0,
}


@pytest.fixture(scope="module")
def clip(folder, tmp_path_factory):
    """A model directory of a small CLIP that knows its colours by name."""
    keras.utils.set_random_seed(0)
    built = modelzoo.build("clip-tiny", **CLIP)
    pairs = [
        {"image": path, "text": f"a {path.parent.name} apple"}
        for path in sorted(folder.rglob("*.png"))
    ]
    built.fit(modelzoo.dataset(built, pairs), epochs=25, verbose=0, shuffle=False)
    return modelzoo.save(built, tmp_path_factory.mktemp("clip") / "clip")


def test_the_examples_with_pictures_run_as_they_stand(
    clip, model, folder, tmp_path, monkeypatch, capsys
):
    import os
    import shlex

    monkeypatch.chdir(tmp_path)
    for name, target in (("clip", clip), ("clip.bundle", clip), ("digits.bundle", model)):
        os.symlink(target, tmp_path / name)
    os.symlink(folder, tmp_path / "photos")
    media.write_picture(tmp_path / "photo.png", media.picture("red"))
    ran = 0
    for command in ("search", "run"):
        lines = output(capsys, command, "--help").partition("\nexamples:\n")[2].splitlines()
        for line in (line for line in lines if "photo" in line and "wudao" not in line):
            printed = output(capsys, *shlex.split(line)[1:])
            assert printed
            ran += 1
            if "a red apple" in line:
                assert {place.split("/")[-2] for place in places(printed)[:3]} == {"red"}
    assert ran == 3
    assert (tmp_path / "hits.png").exists()


def test_labels_of_the_moment_are_told_apart(clip, folder, capsys):
    path = folder / "blue" / "2.png"
    labels = [word for name in LABELS for word in ("--label", name)]
    argv = ("run", clip, path, *labels, "--template", "a {} apple")
    assert output(capsys, *argv, "--top", "1").split()[1] == "blue"
    found = json.loads(output(capsys, *argv, "--json"))
    assert sum(one["probability"] for one in found["labels"]) == pytest.approx(1, abs=1e-6)
    assert len(output(capsys, "run", clip, "a blue apple").split()) == 8
    assert len(output(capsys, "run", clip, path).split()) == 8
    assert "two labels or more" in refusal(capsys, "run", clip, path, "--label", "blue")
