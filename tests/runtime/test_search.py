"""The index of a search, the vectors that are kept, and how texts become passages."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from modelzoo.cli import main
from modelzoo.data.passages import pieces, read_passages
from modelzoo.errors import DataError, ModelzooError, OutputError
from modelzoo.runtime.search.index import (
    Index,
    Passage,
    digest,
    read_vectors,
    vectors_of,
    write_vectors,
)

PASSAGES = [Passage(text, f"a.txt:{n}") for n, text in enumerate(["red", "green", "blue"], 1)]


class Embedder:
    """Letters counted: a model of a kind. Remembers what it was asked."""

    def __init__(self):
        self.asked: list[str] = []

    def __call__(self, texts):
        self.asked += texts
        return np.array([[text.count(c) + 1.0 for c in "aeiou"] for text in texts])


def fits(limit):
    return lambda text: len(text) <= limit


# === The index ===


def test_the_nearest_come_first_by_their_cosine():
    vectors = np.random.default_rng(0).normal(size=(50, 8))
    passages = [Passage(str(n), f"x:{n}") for n in range(50)]
    query = np.random.default_rng(1).normal(size=8)
    hits = Index(vectors, passages).search(query, top=7)
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    order = np.argsort(-cosines)[:7]
    assert [hit.passage for hit in hits] == [passages[row] for row in order]
    assert [hit.score for hit in hits] == pytest.approx(cosines[order], abs=1e-6)


def test_equally_near_passages_keep_their_order_and_top_may_be_more_than_there_are():
    hits = Index(np.ones((3, 2)), PASSAGES).search([1.0, 1.0], top=10)
    assert [hit.passage for hit in hits] == PASSAGES


@pytest.mark.parametrize("top", [0, -1, 1.5, True])
def test_top_is_a_whole_number_of_at_least_one(top):
    with pytest.raises(ModelzooError, match="top must be"):
        Index(np.eye(3), PASSAGES).search(np.ones(3), top)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ModelzooError, match="3 passages need as many vectors"):
        Index(np.eye(2), PASSAGES)
    with pytest.raises(ModelzooError, match="query's vector"):
        Index(np.eye(3), PASSAGES).search(np.ones(4))


# === Vectors that are kept ===


def test_only_new_and_changed_passages_are_embedded_again(tmp_path):
    path, embed = tmp_path / "v.npz", Embedder()

    def search(passages):
        embed.asked = []
        known = read_vectors(path, "m")
        return vectors_of(passages, embed, known, keep=lambda v: write_vectors(path, "m", v))

    first = search(PASSAGES)
    assert sorted(embed.asked) == ["blue", "green", "red"]
    np.testing.assert_array_equal(search(PASSAGES), first)
    assert embed.asked == []
    edited = [PASSAGES[2], Passage("grey", "a.txt:2"), Passage("red", "b.txt:1")]
    got = search(edited)
    assert embed.asked == ["grey"]
    np.testing.assert_array_equal(got, Embedder()([p.text for p in edited]))
    assert set(read_vectors(path, "m")) == {digest(p.text) for p in edited}  # green is gone


def test_a_text_that_stands_twice_is_embedded_once():
    embed = Embedder()
    vectors = vectors_of([PASSAGES[0], PASSAGES[1], PASSAGES[0]], embed)
    assert sorted(embed.asked) == ["green", "red"] and vectors.shape == (3, 5)
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_an_interrupt_keeps_what_is_done_and_what_was_known(tmp_path):
    path, embed = tmp_path / "v.npz", Embedder()
    passages = [Passage("a" * n, f"x:{n}") for n in range(1, 201)]
    known = {digest("gone"): np.ones(5, np.float32)}

    def interrupted(texts):
        if len(embed.asked) >= 128:
            raise KeyboardInterrupt
        return embed(texts)

    def keep(vectors):
        write_vectors(path, "m", vectors)

    with pytest.raises(KeyboardInterrupt):
        vectors_of(passages, interrupted, known, keep=keep)
    kept = read_vectors(path, "m")
    assert len(kept) == 129 and digest("gone") in kept
    embed.asked = []
    vectors_of(passages, embed, kept, keep=keep)
    assert len(embed.asked) == 72
    assert len(read_vectors(path, "m")) == 200


def test_progress_counts_to_the_end():
    told = []
    passages = [Passage(str(n), "x") for n in range(130)]
    vectors_of(passages, Embedder(), progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 130), (64, 130), (128, 130), (130, 130)]


def test_no_file_means_that_nothing_is_known(tmp_path):
    assert read_vectors(tmp_path / "none.npz", "m") == {}


def test_an_index_of_another_model_or_a_later_format_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "v.npz"
    write_vectors(path, "m", {digest("a"): np.ones(3)})
    with pytest.raises(DataError, match="made with another model"):
        read_vectors(path, "other")
    monkeypatch.setattr("modelzoo.runtime.search.index.FORMAT_VERSION", 2)
    write_vectors(path, "m", {digest("a"): np.ones(3)})
    monkeypatch.undo()
    with pytest.raises(DataError, match="has format 2"):
        read_vectors(path, "m")


def test_a_cut_or_edited_or_foreign_file_is_refused_and_left_as_it_is(tmp_path):
    good = tmp_path / "v.npz"
    write_vectors(good, "m", {digest(str(n)): np.full(4, n, np.float32) for n in range(20)})
    whole = good.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    samples = [whole[: len(whole) * part // 10] for part in range(10)]
    samples += [bytes(flipped), b"just text", b"\x80\x04K\x01."]
    for number, content in enumerate(samples):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="the index"):
            read_vectors(path, "m")
        assert path.read_bytes() == content


def test_arrays_that_are_no_index_are_refused_and_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "v.npz"
    good = {
        "version": np.array(1),
        "model": np.array("m"),
        "digests": np.zeros((2, 32), np.uint8),
        "vectors": np.ones((2, 3), np.float32),
    }
    wrong = [
        {"a": np.ones(3)},
        {**good, "vectors": np.ones((3, 3), np.float32)},
        {**good, "vectors": np.full((2, 3), np.nan, np.float32)},
        {**good, "vectors": np.ones((2, 3))},
        {**good, "digests": np.zeros((2, 31), np.uint8)},
        {**good, "version": np.array([1, 2])},
        {**good, "model": np.array([Trap()], dtype=object)},
    ]
    for arrays in wrong:
        np.savez(path, **arrays)
        with pytest.raises(DataError, match="the index"):
            read_vectors(path, "m")
    np.save(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(DataError, match="the index"):
        read_vectors(tmp_path / "a.npy", "m")
    assert not (tmp_path / "sprung").exists()
    np.savez(path, **good)
    assert len(read_vectors(path, "m")) == 1  # two rows of one digest


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "v.npz"
    write_vectors(path, "m", {digest("a"): np.ones(3)})
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="No space left"):
        write_vectors(path, "m", {digest("b"): np.ones(3)})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["v.npz"]


# === Texts to passages ===


def test_a_folder_is_read_paragraph_by_paragraph_with_lines(tmp_path):
    (tmp_path / "b.md").write_text("# Title\n\nfirst line\nsecond line\n\n\n  \nlast", "utf-8")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("one\r\n\r\ntwo\r\n", "utf-8")
    (tmp_path / "notes.rst").write_text("not read")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c.txt").write_text("not read")
    found = [
        (p.text, p.where.removeprefix(str(tmp_path) + os.sep))
        for p in read_passages(tmp_path, fits(100))
    ]
    assert found == [
        ("# Title", "b.md:1"),
        ("first line\nsecond line", "b.md:3"),
        ("last", "b.md:8"),
        ("one", f"deep{os.sep}a.txt:1"),
        ("two", f"deep{os.sep}a.txt:3"),
    ]


def test_a_text_file_is_read_line_by_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\ufeffone\n\n  two \n", "utf-8")
    assert list(read_passages(path, fits(100))) == [
        Passage("one", f"{path}:1"),
        Passage("two", f"{path}:3"),
    ]


def test_records_are_passages_with_their_place(tmp_path):
    jsonl, csv = tmp_path / "a.jsonl", tmp_path / "a.csv"
    jsonl.write_text('{"text": "one", "id": 1}\n\n{"text": "two. And more."}\n')
    assert [(p.text, p.where) for p in read_passages(jsonl, fits(10))] == [
        ("one", f"{jsonl}:1"),
        ("two.", f"{jsonl}:3"),
        ("And more.", f"{jsonl}:3"),
    ]
    csv.write_text("id,text\n1,one\n2,two\n")
    assert [p.text for p in read_passages(csv, fits(10))] == ["one", "two"]


def test_a_parquet_file_is_read(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"id": [1, 2], "text": ["one", "two"]}), path)
    assert [p.text for p in read_passages(path, fits(10))] == ["one", "two"]


@pytest.mark.parametrize(
    "text",
    [
        "It rains. It pours. The old man is snoring. He went to bed, and bumped his head.",
        "no sentence ends here but there are plenty of words to cut between if need be",
        "清晨的雾还没有散。渔船已经出海了。老人坐在码头上，一边补网，一边数着远处的灯。",
        "x" * 100,
        "  \n a\n\n" + "y" * 50 + "\n z ",
    ],
)
def test_a_long_text_is_cut_in_pieces_that_fit_and_lose_nothing(text):
    parts = pieces(text, fits(20))
    assert all(len(part) <= 20 and part == part.strip() for _, part in parts)
    assert all(text[start : start + len(part)] == part for start, part in parts)
    assert [start for start, _ in parts] == sorted(start for start, _ in parts)
    assert "".join("".join(part for _, part in parts).split()) == "".join(text.split())


def test_sentences_and_words_stay_whole_where_they_can():
    text = "It rains. It pours. The old man is snoring."
    assert [part for _, part in pieces(text, fits(25))] == [
        "It rains. It pours.",
        "The old man is snoring.",
    ]
    words = "alpha beta gamma delta epsilon"
    assert {word for _, part in pieces(words, fits(14)) for word in part.split()} == set(
        words.split()
    )


def test_a_piece_of_a_paragraph_has_its_own_line(tmp_path):
    (tmp_path / "a.md").write_text("top\n\nOne sentence here.\nAnother stands here.\n")
    where = [p.where.rpartition(":")[2] for p in read_passages(tmp_path, fits(22))]
    assert where == ["1", "3", "4"]


def test_a_huge_text_without_any_boundary_is_cut_in_good_time():
    assert len(pieces("z" * 1_000_000, fits(1000))) == 1024


def test_texts_that_cannot_be_searched_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "nul.txt").write_bytes(b"ab\0cd")
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "a.jsonl").write_text('{"txt": "one"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": 5}\n')
    (tmp_path / "c.jsonl").write_text("not json\n")
    wrong = {
        "empty": "no .txt or .md file in this folder",
        "blank.txt": "there is no text in it",
        "nul.txt": "this is a binary file",
        "latin.txt": "not UTF-8",
        "a.jsonl": "'text' is missing; the columns are txt",
        "b.jsonl": "'text' is not text",
        "c.jsonl": "not JSON",
        "blank.tx": "no such file or folder",
    }
    for name, message in wrong.items():
        with pytest.raises(DataError, match=message) as caught:
            list(read_passages(tmp_path / name, fits(9)))
        assert name.partition(".")[0] in str(caught.value)
    assert caught.value.did_you_mean == str(tmp_path / "blank.txt")


# === The command, on a device's bundle ===


def test_a_bundle_searches_without_keras(tiny, tmp_path, capsys):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "one.txt").write_text("a b c\n\nd e f\n\n" + "g h i j k l a b c d e f g h i j k l\n")
    bundle = str(tiny.bundle("embedding", tmp_path / "bundle"))
    command = ["search", bundle, "d e f", "--in", str(texts), "--index", str(tmp_path / "v.npz")]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"][0]["where"] == f"{texts / 'one.txt'}:3"
    assert found["results"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert found["passages"] == 4  # the long one is two, each of 12 tokens at most
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("1.0000  ")
    with pytest.raises(DataError, match="another model"):
        read_vectors(tmp_path / "v.npz", "m")
    assert main(["search", str(tiny.bundle("classes", tmp_path / "c")), "a", "--in", "x"]) == 2
    assert main(["search", str(tmp_path / "c"), "a", "--in", str(texts)]) == 2
    assert "(text-classification) does not embed text" in capsys.readouterr().err
