import csv
import json
import os

import numpy as np
import pytest

from modelzoo.data.files import reader_of
from modelzoo.data.raw import (
    CLASSIFICATION,
    SEQ2SEQ,
    TEXT,
    columns_in,
    iterate_texts,
    read_examples,
)
from modelzoo.errors import DataError


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# === Forms ===


def test_text_file_is_one_document_with_its_blank_lines(tmp_path):
    path = write(tmp_path / "a.txt", "first\n\nsecond 你好\n")
    assert list(read_examples(path)) == [{"text": "first\n\nsecond 你好\n"}]
    assert list(read_examples(str(path), fields=TEXT)) == [{"text": "first\n\nsecond 你好\n"}]


def test_jsonl_csv_tsv_and_parquet_give_the_same_examples(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [
        {"text": 'a "quoted", text\nin two lines', "label": "x"},
        {"text": "你好", "label": "y"},
    ]
    quoted = '"a ""quoted"", text\nin two lines"'
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "d.parquet")
    paths = [
        write(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in rows) + "\n\n"),
        write(tmp_path / "b.csv", f"text,label\r\n{quoted},x\r\n你好,y\r\n"),
        write(tmp_path / "c.TSV", f"text\tlabel\n{quoted}\tx\n你好\ty\n"),
        tmp_path / "d.parquet",
    ]
    for path in paths:
        assert list(read_examples(path, fields=CLASSIFICATION)) == rows, path


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_byte_order_mark_is_no_part_of_the_data(tmp_path, name):
    content = {"a.txt": "hi", "a.jsonl": '{"text": "hi"}', "a.csv": "text\nhi\n"}[name]
    path = write(tmp_path / name, b"\xef\xbb\xbf" + content.encode())
    assert list(read_examples(path, fields=TEXT)) == [{"text": "hi"}]


def test_directory_is_read_in_the_order_of_names(tmp_path):
    (tmp_path / "sub").mkdir()
    write(tmp_path / "b.txt", "two")
    write(tmp_path / "a.jsonl", '{"text": "one"}')
    write(tmp_path / "sub" / "c.txt", "three")
    write(tmp_path / "notes.md", "not data")
    write(tmp_path / ".hidden.txt", "not data")
    assert [e["text"] for e in read_examples(tmp_path)] == ["one", "two", "three"]
    write(tmp_path / "empty.txt", "")
    with pytest.warns(UserWarning, match="1 empty file.*empty.txt"):
        assert len(list(read_examples(tmp_path))) == 3


def test_iterables_of_texts_tuples_and_dicts():
    assert list(read_examples(["a", "b"])) == [{"text": "a"}, {"text": "b"}]
    assert list(read_examples([("a", 1)])) == [{"text": "a", "label": 1}]
    assert list(read_examples([("a", "b")], fields=SEQ2SEQ)) == [{"source": "a", "target": "b"}]
    pair = {"text_a": "a", "text_b": "b", "label": "x"}
    assert list(read_examples([("a", "b", "x")], fields=CLASSIFICATION)) == [pair]
    assert list(read_examples([{**pair, "id": 7}], fields=CLASSIFICATION)) == [pair]


def test_tf_dataset_is_read_without_importing_tensorflow():
    class Dataset:  # what a tf.data.Dataset gives out
        def __iter__(self):
            raise AssertionError("tensors are not wanted")

        def as_numpy_iterator(self):
            return iter([("你好".encode(), np.int64(1)), (b"b", np.int64(0))])

    expected = [{"text": "你好", "label": 1}, {"text": "b", "label": 0}]
    assert list(read_examples(Dataset(), fields=CLASSIFICATION)) == expected


def test_columns_are_renamed(tmp_path):
    path = write(tmp_path / "a.csv", "review,stars,id\ngood,5,1\n")
    columns = {"text": "review", "label": "stars"}
    assert list(read_examples(path, columns, CLASSIFICATION)) == [{"text": "good", "label": "5"}]
    assert list(read_examples(path, columns)) == [{"id": "1", "text": "good", "label": "5"}]


def test_large_files_are_streamed(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "fine"}\n' * 3 + "not json\n")
    examples = read_examples(path)
    assert [next(examples)["text"] for _ in range(3)] == ["fine"] * 3
    with pytest.raises(DataError, match="a.jsonl:4"):
        next(examples)


def test_csv_field_may_be_longer_than_the_module_s_default(tmp_path):
    path = write(tmp_path / "a.csv", "text\n" + "x" * 200_000 + "\n")
    assert len(next(read_examples(path))["text"]) == 200_000


def test_iterate_texts_takes_every_text_field():
    raw = [{"source": "a", "target": "b"}, {"source": "c", "target": "d"}]
    assert list(iterate_texts(raw)) == ["a", "b", "c", "d"]
    with pytest.raises(DataError, match="did you mean: texts"):
        list(iterate_texts([{"texts": "a"}]))


# === What is wrong is named ===


def test_missing_file_suggests_the_one_beside_it(tmp_path):
    write(tmp_path / "corpus.txt", "x")
    with pytest.raises(DataError, match=r"did you mean: .*corpus\.txt"):
        read_examples(tmp_path / "copus.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", ""),
        ("a.txt", " \n"),
        ("a.jsonl", ""),
        ("a.jsonl", "\n\n"),
        ("a.csv", "text\n"),
        ("a.txt", b"\xef\xbb\xbf"),
    ],
)
def test_empty_file_is_an_error_that_names_it(tmp_path, name, content):
    with pytest.raises(DataError, match=rf"(empty|no example)[\s\S]*{name}"):
        list(read_examples(write(tmp_path / name, content)))


def test_no_example_at_all_is_an_error(tmp_path):
    for raw in ([], iter(()), tmp_path):
        with pytest.raises(DataError):
            list(read_examples(raw))


def test_other_suffix_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no reader for \.json[\s\S]*did you mean: \.jsonl"):
        read_examples(write(tmp_path / "a.json", "[]"))


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_text_that_is_not_utf8_is_named_with_line_and_byte(tmp_path, name):
    first = '{"text": "café"}\n' if name == "a.jsonl" else "text\n"
    path = write(tmp_path / name, first.encode() + b"caf\xe9\n")
    offset = len(first.encode()) + 3
    with pytest.raises(DataError, match=rf"0xe9 at byte offset {offset}\n  in: .*{name}:2"):
        list(read_examples(path))


@pytest.mark.parametrize("line", ["{", "[1]", '"text"', "{'text': 'a'}", "[" * 100_000])
def test_line_that_is_no_json_object_is_named(tmp_path, line):
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        list(read_examples(path))


TSV = {
    "a quote that nothing closes": ['"Never again\tneg', "fine\tpos", 'the end"\tneg'],
    "a quote within": ['called it "great"\tpos', '"No," he said\tneg'],
    "all of it in quotes": ['"great"\tpos'],
    "in the last column": ['neg\t"Never', 'pos\tend"'],
}


@pytest.mark.parametrize("name", TSV)
def test_quotes_in_a_tsv_are_characters(tmp_path, name):
    path = write(tmp_path / "a.tsv", "\n".join(["text\tlabel", *TSV[name]]))
    wanted = [tuple(line.split("\t")) for line in TSV[name]]
    assert [(e["text"], e["label"]) for e in read_examples(path)] == wanted


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_what_a_csv_writer_quoted_is_read_from_tsv_as_from_csv(tmp_path, quoting):
    texts = ["plain", 'say "a"', "a\ttab", "two\nlines", "three\n\nlines", '"', "end"]
    for rows in (
        [["text", "label", "n"], *([text, "x", "1"] for text in texts)],
        [["n", "label", "text"], *(["1", "x", text] for text in texts)],
    ):
        for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
            with (tmp_path / name).open("w", newline="") as file:
                csv.writer(file, delimiter=delimiter, quoting=quoting).writerows(rows)
            assert [list(e.values()) for e in read_examples(tmp_path / name)] == rows[1:]


def test_a_ragged_row_with_a_quote_is_never_made_of_others(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"Never\nfine\tpos\nend"\tneg\n')
    with pytest.raises(DataError, match=r"1 fields, the header 2(.|\n)*a\.tsv:2"):
        list(read_examples(path))


def test_spaces_after_commas_are_no_part_of_a_field(tmp_path):
    wanted = [{"text": "a, b", "label": "x"}, {"text": "c", "label": "y"}]
    for content in (
        'text, label\n"a, b", x\nc, "y"\n',
        'text,label\n"a, b", x\nc, "y"\n',
        '"text", "label"\n"a, b", "x"\n"c", "y"\n',
    ):
        assert list(read_examples(write(tmp_path / "a.csv", content))) == wanted
    kept = write(tmp_path / "b.csv", "text,label\n  indented,x\n")
    assert next(read_examples(kept))["text"] == "  indented"


def test_empty_columns_and_rows_are_left_out(tmp_path):
    wanted = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    for content in (
        "text,label,,\na,x,,\n,,,\nb,y,,\n",
        ",text,label\n0,a,x\n1,b,y\n",  # a data frame's index
        "text,label\na,x,\nb,y,,\n",
    ):
        assert list(read_examples(write(tmp_path / "a.csv", content))) == wanted
    with pytest.raises(DataError, match="3 fields, the header 2"):
        list(read_examples(write(tmp_path / "a.csv", "text,label\na,x,more\n")))


@pytest.mark.parametrize("row", ["a", "a,b,c", 'a,"b', 'a,"b"c'])
def test_ragged_or_broken_csv_row_is_named(tmp_path, row):
    path = write(tmp_path / "a.csv", f"text,label\nx,y\n{row}\n")
    with pytest.raises(DataError, match=r"a\.csv:3"):
        list(read_examples(path))


def test_missing_column_suggests_the_nearest_and_how_to_name_it(tmp_path):
    path = write(tmp_path / "a.csv", "texts,label\nx,y\n")
    with pytest.raises(
        DataError,
        match=r"did you mean: texts\?[\s\S]*--columns text=texts \(columns=\{'text': 'texts'\}",
    ):
        list(read_examples(path, fields=CLASSIFICATION))
    with pytest.raises(DataError, match="no column 'txt'"):
        list(read_examples(path, {"text": "txt"}))
    with pytest.raises(DataError, match="--columns text=texts"):  # and not --columns textz=...
        list(read_examples(path, {"text": "textz"}))


def test_a_usual_name_is_taken_where_only_one_column_has_it(tmp_path):
    path = write(tmp_path / "a.csv", "id,Review,stars\n1,good,5\n2,bad,1\n")
    with pytest.warns(UserWarning, match="--columns text=Review,label=stars") as caught:
        found = list(read_examples(path, fields=CLASSIFICATION))
    assert found == [{"text": "good", "label": "5"}, {"text": "bad", "label": "1"}]
    assert len(caught) == 1 and "'Review' is read as text, 'stars' is read as label" in str(
        caught[0].message
    )
    with pytest.warns(UserWarning, match="'sentence1' is read as text_a"):
        pair = [{"sentence1": "a", "sentence2": "b", "label": 0}]
        assert next(iter(read_examples(pair, fields=CLASSIFICATION)))["text_b"] == "b"


def test_two_columns_that_may_be_meant_are_refused_by_name():
    rows = [{"review": "a", "comment": "b", "label": 1}]
    with pytest.raises(DataError, match="'review' and 'comment' may both be it") as caught:
        list(read_examples(rows, fields=CLASSIFICATION))
    assert caught.value.next_step.startswith("--columns text=review or --columns text=comment")
    # A field's own name, or one that is given, leaves no doubt.
    assert (
        next(iter(read_examples([{**rows[0], "text": "c"}], fields=CLASSIFICATION)))["text"] == "c"
    )
    named = list(read_examples(rows, {"text": "comment"}, CLASSIFICATION))
    assert named == [{"text": "b", "label": 1}]


def test_columns_of_a_training_hold_as_far_as_the_data_has_them(tmp_path):
    path = write(tmp_path / "a.csv", "review,label\ngood,5\n")
    kept = {"text": "review", "label": "stars"}
    assert columns_in(path, kept) == {"text": "review"}
    assert columns_in([{"stars": 1}], kept) == {"label": "stars"}
    assert columns_in(tmp_path / "none", kept) == {} == columns_in([("a", 1)], {})
    assert columns_in(iter([{"stars": 1}]), kept) == kept  # nothing of it may be used up


@pytest.mark.parametrize("weight", ["-1", "x", None, float("nan")])
def test_a_weight_is_a_number_from_0_on(weight):
    rows = [{"text": "a", "label": 1, "weight": "0.5"}]
    fields = {"fields": CLASSIFICATION, "weighed": True}
    assert list(read_examples(rows, **fields)) == [{"text": "a", "label": 1, "weight": 0.5}]
    with pytest.raises(DataError, match="'weight' must be a number, 0 or more"):
        list(read_examples([{**rows[0], "weight": weight}], **fields))


@pytest.mark.parametrize("label", [float("nan"), None, "", 1.5, [1]])
def test_label_that_is_none_is_named(label):
    raw = [("a", 1), ("b", label)]
    with pytest.raises(DataError, match=r"a label must be[\s\S]*example 2"):
        list(read_examples(raw, fields=CLASSIFICATION))


@pytest.mark.parametrize(
    ("label", "step"),
    [(0.73, "regression"), (["x", "y"], "multi_label"), (float("nan"), "leave out"), ("", "leave")],
)
def test_what_is_not_one_class_is_named_with_its_option(label, step):
    with pytest.raises(DataError) as caught:
        list(read_examples([{"text": "a", "label": label}]))
    assert step in caught.value.next_step


def test_labels_are_names_or_whole_numbers():
    labels = [1, "a", 2.0, np.int64(3), True]
    raw = [("x", label) for label in labels]
    assert [e["label"] for e in read_examples(raw, fields=CLASSIFICATION)] == [1, "a", 2, 3, 1]


def test_text_that_is_null_is_named(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": null}\n')
    with pytest.raises(DataError, match=r"'text' must be text, not NoneType[\s\S]*a\.jsonl:2"):
        list(read_examples(path))


def test_broken_parquet_is_named(tmp_path):
    with pytest.raises(DataError, match=r"Parquet[\s\S]*a\.parquet"):
        list(read_examples(write(tmp_path / "a.parquet", b"PAR1 not really")))


@pytest.mark.parametrize("raw", [3, None, {"text": "a"}, [3], [("a", 1, 2, 3)], [np.zeros(3)]])
def test_raw_data_of_another_type_is_refused(raw):
    with pytest.raises(DataError):
        list(read_examples(raw))


def test_unknown_demo_suggests_the_one_there_is():
    with pytest.raises(DataError, match="did you mean: demo:python-docs"):
        read_examples("demo:pythondocs")


# === Labels that mean the same ===


def test_a_number_is_the_same_label_in_every_format(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"text": ["a", "b"], "label": [1.0, 0.0]})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    for raw in (
        [("a", 1), ("b", 0)],
        [("a", "1"), ("b", "0")],
        [("a", 1.0), ("b", np.float32(0))],
        [("a", True), ("b", False)],
        write(tmp_path / "a.csv", "text,label\na,1\nb,0\n"),
        write(tmp_path / "b.csv", "text,label\na, 1.0\nb,0.0\n"),
        write(tmp_path / "c.jsonl", '{"text": "a", "label": "1"}\n{"text": "b", "label": 0.0}\n'),
        tmp_path / "d.parquet",
    ):
        labels = [str(e["label"]) for e in read_examples(raw, fields=CLASSIFICATION)]
        assert labels == ["1", "0"], raw


def test_names_that_look_like_numbers_stay_names():
    for name in ("01", "1.5", "1e3", "v1.0", "1.0.0"):
        assert next(read_examples([("a", name)]))["label"] == name


def test_labels_that_are_numbers_in_one_file_and_names_in_another_are_refused(tmp_path):
    write(tmp_path / "a.csv", "text,label\na,1\nb,0\n")
    write(tmp_path / "b.jsonl", '{"text": "c", "label": "pos"}\n')
    with pytest.raises(DataError, match=r"'1' in .*a\.csv:2, 'pos' in .*b\.jsonl:1"):
        list(read_examples(tmp_path, fields=CLASSIFICATION))
    # Digits and letters, as of handwriting, are classes of one kind.
    write(tmp_path / "b.jsonl", '{"text": "c", "label": "x"}\n{"text": "c", "label": "7"}\n')
    assert len(list(read_examples(tmp_path, fields=CLASSIFICATION))) == 4


def test_an_empty_column_is_passed_over_for_another_that_holds_text():
    pair = {"text_a": "a", "text_b": "b", "label": "x"}
    for empty in (None, ""):
        raw = [{"text": empty, **pair}]
        assert list(read_examples(raw, fields=CLASSIFICATION)) == [pair]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"text": "\\ud800"}', "not text"),
        ('{"text": ' + "9" * 5000 + "}", "digits"),
        ('{"text": ' + "[" * 100_000, "nested too deeply"),
        ('{"text": ' + "[" * 70 + "]" * 70 + "}", "levels deep"),
    ],
)
def test_a_line_of_json_that_nothing_can_hold_is_refused_with_its_number(tmp_path, line, what):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' + line + "\n")
    with pytest.raises(DataError, match=what) as caught:
        list(read_examples(tmp_path / "a.jsonl"))
    assert str(caught.value.where).endswith("a.jsonl:2")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.parquet"])
def test_a_pipe_of_data_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError):
        list(reader_of(tmp_path / name)(tmp_path / name, ()))
