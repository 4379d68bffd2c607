import json

import numpy as np
import pytest

from modelzoo.data.media import media_of, read_media_examples
from modelzoo.errors import DataError

LABELLED = (("image", "label"),)
CAPTIONED = (("image", "text"),)


@pytest.fixture
def photos(tmp_path):
    """Four files in the folders of two labels; what is in them does not matter here."""
    for name in ("cat/2.png", "cat/10.JPG", "dog/a.webp", "dog/deep/b.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "photos"


# === Folders ===


def test_a_folder_is_the_label_of_the_files_in_it_at_any_depth(photos):
    found = read_media_examples(photos, LABELLED)
    assert [(one["image"].relative_to(photos).as_posix(), one["label"]) for one in found] == [
        ("cat/10.JPG", "cat"),
        ("cat/2.png", "cat"),
        ("dog/a.webp", "dog"),
        ("dog/deep/b.png", "dog"),
    ]


def test_hidden_files_are_passed_over_and_others_are_told_of(photos):
    (photos / "cat" / ".DS_Store").write_bytes(b"x")
    (photos / "cat" / "notes.txt").write_text("x")
    (photos / "loose.png").write_bytes(b"x")
    with pytest.warns(UserWarning, match="2 files .* left out"):
        assert len(read_media_examples(photos, LABELLED)) == 4


def test_folders_called_train_and_test_are_no_labels(tmp_path):
    for name in ("train/cat", "test/cat"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.png").write_bytes(b"x")
    with pytest.raises(DataError, match="parts of a data set") as error:
        read_media_examples(tmp_path, LABELLED)
    assert str(tmp_path / "test") in error.value.next_step


def test_files_without_a_folder_for_their_label_are_an_error(tmp_path):
    (tmp_path / "1.png").write_bytes(b"x")
    with pytest.raises(DataError, match="no folder that says their label"):
        read_media_examples(tmp_path, LABELLED)


def test_a_folder_without_media_says_where_they_belong(tmp_path):
    with pytest.raises(DataError, match="no image file") as error:
        read_media_examples(tmp_path, LABELLED)
    assert "LABEL" in error.value.next_step


def test_a_caption_stands_beside_its_file(tmp_path):
    for name in ("pear", "apple"):
        (tmp_path / f"{name}.png").write_bytes(b"x")
        (tmp_path / f"{name}.ogg").write_bytes(b"x")
        (tmp_path / f"{name}.txt").write_text(f"a red {name}\n", "utf-8")
    found = read_media_examples(tmp_path, (("image", "audio", "text"),))
    assert [one["text"] for one in found] == ["a red apple", "a red pear"]
    assert [kind for kind, _ in media_of(found[0])] == ["image", "audio"]
    assert found[0]["audio"] == tmp_path / "apple.ogg"


@pytest.mark.parametrize("caption", [None, "  \n"])
def test_a_missing_or_empty_caption_names_the_file(tmp_path, caption):
    (tmp_path / "apple.png").write_bytes(b"x")
    if caption is not None:
        (tmp_path / "apple.txt").write_text(caption)
    with pytest.raises(DataError, match="no caption|'text' is empty") as error:
        read_media_examples(tmp_path, CAPTIONED)
    assert "apple" in error.value.where


def test_a_video_is_a_file_or_a_folder_of_frames(tmp_path):
    for name in ("wave/one.gif", "wave/two/01.png", "wave/two/02.png", "jump/a/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = read_media_examples(tmp_path, (("video", "label"),))
    assert [(one["video"].name, one["label"]) for one in found] == [
        ("a", "jump"),
        ("one.gif", "wave"),
        ("two", "wave"),
    ]


# === Tables ===


def tables(folder, rows):
    """The rows as each kind of table that is read, with the folder's paths in them."""
    import pyarrow
    import pyarrow.parquet

    names = list(rows[0])
    lines = [",".join(names), *(",".join(map(str, row.values())) for row in rows)]
    (folder / "a.csv").write_text("\n".join(lines), "utf-8")
    (folder / "a.tsv").write_text("\n".join(lines).replace(",", "\t"), "utf-8")
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "a.parquet")
    return [folder / f"a.{kind}" for kind in ("csv", "tsv", "jsonl", "parquet")]


def test_paths_in_a_table_are_relative_to_it(photos):
    rows = [{"image": "cat/2.png", "text": "一只猫"}, {"image": "dog/a.webp", "text": "a dog"}]
    expected = [{**row, "image": photos / row["image"]} for row in rows]
    for table in tables(photos, rows):
        assert read_media_examples(table, CAPTIONED) == expected, table


@pytest.mark.parametrize("column", ["file_name", "path", "image_path"])
def test_usual_names_of_columns_are_understood(photos, column):
    rows = [{column: "cat/2.png", "caption": "a cat"}]
    (table, *_) = tables(photos, rows)
    assert read_media_examples(table, CAPTIONED)[0]["text"] == "a cat"


def test_a_metadata_file_speaks_for_its_folder(photos):
    (photos / "metadata.csv").write_text("file_name,label\ncat/2.png,one\ndog/a.webp,two\n")
    found = read_media_examples(photos, LABELLED)
    assert [one["label"] for one in found] == ["one", "two"]


def test_other_columns_can_be_named(photos):
    (photos / "x.csv").write_text("photo,what\ncat/2.png,3\n")
    columns = {"image": "photo", "label": "what"}
    found = read_media_examples(photos / "x.csv", LABELLED, columns)
    assert found == [{"image": photos / "cat/2.png", "label": "3"}]


def test_a_file_that_is_not_there_is_named_with_the_nearest(photos):
    (photos / "x.csv").write_text("image,label\ncat/2.pgn,cat\n")
    with pytest.raises(DataError, match="no such file") as error:
        read_media_examples(photos / "x.csv", LABELLED)
    assert error.value.did_you_mean == "cat/2.png"
    assert error.value.where.endswith("x.csv:2")


def test_a_missing_column_and_an_empty_cell_are_told_apart(photos):
    (photos / "x.csv").write_text("image,text\ncat/2.png,\n")
    with pytest.raises(DataError, match="'text' is empty: this example has no text") as error:
        read_media_examples(photos / "x.csv", CAPTIONED)
    assert error.value.where.endswith("x.csv:2")
    with pytest.raises(DataError, match="no column 'label'; the columns are image, text"):
        read_media_examples(photos / "x.csv", LABELLED)


def test_each_row_takes_the_first_set_of_fields_that_it_fills(photos):
    (photos / "x.csv").write_text("image,audio,text\ncat/2.png,,a cat\n,dog/a.webp,a bark\n")
    fields = (("image", "audio", "text"), ("image", "text"), ("audio", "text"))
    found = read_media_examples(photos / "x.csv", fields)
    assert [list(one) for one in found] == [["image", "text"], ["audio", "text"]]


# === Python objects ===


def test_lists_of_dicts_and_tuples_hold_paths_bytes_and_arrays(photos):
    image, sound = np.zeros((2, 2, 3), np.uint8), np.zeros(8, np.float32)
    path = photos / "cat/2.png"
    rows = [(path, 1), (str(path), 2), (b"\x89PNG\0", 3), (image, np.int64(4))]
    found = read_media_examples(rows, LABELLED)
    assert [one["label"] for one in found] == [1, 2, 3, 4]
    assert found[0]["image"] == found[1]["image"] == path
    assert found[2]["image"] == b"\x89PNG\0" and found[3]["image"] is image
    (spoken,) = read_media_examples([{"audio": (sound, 8000), "label": "a"}], ("audio", "label"))
    assert spoken["audio"][1] == 8000


def test_hugging_face_columns_are_unpacked(photos):
    rows = [
        {"image": {"bytes": b"\x89PNG\0", "path": None}, "label": 0},
        {"image": {"bytes": None, "path": str(photos / "cat/2.png")}, "label": 1},
    ]
    found = read_media_examples(rows, LABELLED)
    assert [one["image"] for one in found] == [b"\x89PNG\0", photos / "cat/2.png"]
    sound = {"array": np.zeros(4), "sampling_rate": 16000, "path": "gone.wav"}
    (one,) = read_media_examples([{"audio": sound, "label": 0}], ("audio", "label"))
    assert one["audio"][1] == 16000


def test_a_tf_dataset_is_read_as_it_stands(photos):
    import tensorflow as tf

    paths = tf.constant([str(photos / "cat/2.png"), str(photos / "dog/a.webp")])
    found = read_media_examples(
        tf.data.Dataset.from_tensor_slices({"image": paths, "label": [5, 6]}), LABELLED
    )
    assert found == [
        {"image": photos / "cat/2.png", "label": 5},
        {"image": photos / "dog/a.webp", "label": 6},
    ]
    pixels = tf.data.Dataset.from_tensor_slices((tf.zeros((3, 4, 4, 3), tf.uint8), ["a"] * 3))
    assert read_media_examples(pixels, LABELLED)[2]["image"].shape == (4, 4, 3)


@pytest.mark.parametrize("raw", [{"image": 1}, 5, [(1, 2, 3)], [{"image": 5, "label": 1}]])
def test_what_is_no_example_is_refused(raw):
    with pytest.raises(DataError, match="must be"):
        read_media_examples(raw, LABELLED)


def test_nothing_at_all_is_refused():
    with pytest.raises(DataError, match="no example"):
        read_media_examples([], LABELLED)


def test_labels_that_are_numbers_in_one_table_and_names_in_another_are_refused(tmp_path):
    tables = tmp_path / "tables"
    for name, label in (("a", "1"), ("b", "cat")):
        (tables / name).mkdir(parents=True)
        (tables / name / "1.dat").write_bytes(b"x")
        (tables / name / "rows.csv").write_text(f"image, label\n1.dat, {label}\n")
    with pytest.raises(DataError, match=r"'1' in .*rows\.csv:2, 'cat' in .*rows\.csv:2"):
        read_media_examples(tables, LABELLED)
    (tables / "b" / "rows.csv").write_text("image, label\n1.dat, 0\n")
    found = read_media_examples(tables, LABELLED)
    assert [(one["image"].parent.name, one["label"]) for one in found] == [("a", "1"), ("b", "0")]
