"""`modelzoo run` and `modelzoo bench` on real bundles."""

import io
import json
import mmap
import os
import sys

import pytest

from modelzoo.bench import measure as measuring
from modelzoo.bench.report import FEATURES, in_a_child
from modelzoo.cli import main
from modelzoo.cli.bench import _load, _weights
from modelzoo.cli.common import print_json
from modelzoo.cli.run_answers import as_json
from modelzoo.cli.run_inputs import standard_input
from modelzoo.errors import DataError, ModelzooError
from modelzoo.runtime import load
from modelzoo.runtime.generation.sampling import Sampling


@pytest.fixture(scope="module")
def paths(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("cli")
    names = ("decoder", "classes", "tokens", "embedding", "seq2seq")
    return {name: str(tiny.bundle(name, directory / name)) for name in names}


def test_run_prints_the_continuation(paths, capsys):
    assert main(["run", paths["decoder"], "a b", "--max-new-tokens", "5"]) == 0
    expected = load(paths["decoder"]).generate("a b", max_new_tokens=5)
    assert capsys.readouterr().out == expected + "\n"
    options = ["--temperature", "1.5", "--seed", "3", "--top-k", "9", "--stream"]
    assert main(["run", paths["decoder"], "a b", "--max-new-tokens", "9", *options]) == 0
    drawn = load(paths["decoder"]).generate(
        "a b", max_new_tokens=9, temperature=1.5, seed=3, top_k=9
    )
    assert capsys.readouterr().out == drawn + "\n"


def test_run_reads_lines_and_prints_json_lines(paths, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a b\r\nc d e\n"))
    assert main(["run", paths["classes"], "-", "--json", "--top", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    model = load(paths["classes"])
    for line, text in zip(lines, ["a b", "c d e"], strict=True):
        ((label, probability),) = model.classify(text, top=1)
        assert line == {"input": text, "labels": [{"label": label, "probability": probability}]}


def test_run_does_what_the_bundle_can(paths, capsys):
    assert main(["run", paths["tokens"], "a [MASK] c", "--top", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["run", paths["tokens"], "[MASK] [MASK]", "--top", "2", "--json"]) == 0
    assert [len(one) for one in json.loads(capsys.readouterr().out)["tokens"]] == [2, 2]
    assert main(["run", paths["embedding"], "a b", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["embedding"]) == 8
    assert main(["run", paths["embedding"], "a b"]) == 0
    assert len(capsys.readouterr().out.split()) == 8
    assert main(["run", paths["classes"], "a", "--pair", "b c"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["run", paths["seq2seq"], "a b c", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output == {"input": "a b c", "output": load(paths["seq2seq"]).generate("a b c")}


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("classes", ["a", "--temperature", "1"], "--temperature does not fit"),
        ("classes", ["a", "--stop", "x"], "--stop does not fit"),
        ("classes", ["a", "--no-stream"], "--stream does not fit"),
        ("decoder", ["a", "--top", "1"], "--top does not fit"),
        ("tokens", ["a [MASK]", "--pair", "b"], "--pair does not fit"),
        ("decoder", ["a", "--top-k", "5"], "--temperature 1.0"),
        ("decoder", ["a", "--threads", "0"], "threads must be"),
        ("classes", [" ".join("abcdefghijkl")], "14 tokens"),
        ("classes", ["a", "--tresh", "1"], "--tresh"),
    ],
)
def test_wrong_options_are_errors_of_the_user(paths, capsys, name, options, message):
    assert main(["run", paths[name], *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
    assert "Traceback" not in captured.err


def test_run_truncates_when_asked(paths, capsys):
    assert main(["run", paths["classes"], " ".join("abcdefghijkl"), "--truncate"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_no_input_at_a_terminal_is_an_error(paths, capsys, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["run", paths["decoder"]]) == 2
    assert "no input" in capsys.readouterr().err


def test_generated_control_characters_do_not_reach_a_terminal(monkeypatch):
    from modelzoo.cli.run_answers import write

    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", terminal)
    write("one\x1b[2J\ttwo\n")
    assert terminal.getvalue() == "one\ufffd[2J\ttwo\n"


@pytest.mark.parametrize("command", ["run", "bench"])
def test_help_ends_with_examples(capsys, command):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(
        line.startswith(f"  modelzoo {command} ")
        for line in text[text.index("examples:\n") :].splitlines()[1:]
    )


def test_bench_measures_each_number_of_threads(paths, capsys):
    options = ["--threads", "2", "--prompt-tokens", "6", "--new-tokens", "4"]
    assert main(["bench", paths["seq2seq"], "--json", *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model_bytes"] < report["bundle_bytes"]
    assert report["weight_bytes_from"] == "graph" and report["machine"]["cores"] >= 1
    assert [run["threads"] for run in report["runs"]] == [1, 2]
    for run in report["runs"]:
        assert run["load_s"] > 0 and "prefill_tokens_s" not in run  # it begins with one token
        assert 10 < run["resident_mb"] <= run["peak_mb"] < 2000
        assert 0 < run["token_bytes"] < report["model_bytes"]
        limit = run["bandwidth_gb_s"] * 1e9 / run["token_bytes"]
        assert run["limit_tokens_s"] == pytest.approx(limit)
        assert run["share"] == pytest.approx(run["decode_tokens_s"] / limit)
        assert list(run["signatures"]) == ["encode"]
        encode = run["signatures"]["encode"]
        assert 0 < encode["p50_ms"] <= encode["p95_ms"]
        assert encode["batch_size"] == 1
        assert encode["items_s"] == pytest.approx(1e3 / encode["p50_ms"])


def test_bench_says_what_the_weights_are_read_from(paths, capsys):
    options = ["--threads", "1", "--prompt-tokens", "6", "--new-tokens", "4"]
    assert main(["bench", paths["decoder"], *options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (run,) = report["runs"]
    assert run["weight_cache"] == "none" and "too small" in run["weight_cache_why"]  # it is tiny
    assert run["pages"] == f"{mmap.PAGESIZE // 1024} KiB"
    assert set(report["machine"]["features"]) <= set(FEATURES)
    runs = [
        {"threads": 1, "weight_cache": "built", "weight_cache_why": None, "pages": "huge"},
        {"threads": 2, "weight_cache": "found", "weight_cache_why": None, "pages": "huge"},
        {"threads": 3, "weight_cache": "found", "weight_cache_why": None, "pages": "huge"},
    ]
    machine = {"processor": "Abacus 3000", "features": ["avx2"]}
    assert _weights({"machine": machine, "runs": runs}) == [
        "Abacus 3000 avx2",
        "packed weights: cache built, huge pages (threads: 1); "
        "cache found, huge pages (threads: 2, 3)",
    ]
    assert _weights({"machine": {"processor": "Abacus"}, "runs": [{"threads": 1}]}) == ["Abacus"]


@pytest.mark.parametrize("pages, huge", [("huge", True), ("4 KiB", False)])
def test_the_limit_is_read_from_pages_like_the_weights(paths, monkeypatch, pages, huge):
    asked = []
    monkeypatch.setattr(measuring, "weights_of", lambda engine: {"pages": pages})
    monkeypatch.setattr(
        measuring, "read_bandwidth", lambda threads, huge: asked.append((threads, huge)) or 1e9
    )
    assert measuring.measure(paths["decoder"], 1, 4, 2)["bandwidth_gb_s"] == 1
    assert asked == [(1, huge)] * 2


def test_bench_measures_texts_with_drafts_and_without(tiny, tmp_path, capsys):
    path = str(tiny.bundle("drafts", tmp_path / "b"))
    options = ["--threads", "1", "--prompt-tokens", "3", "--new-tokens", "6"]
    assert main(["bench", path, "--json", *options]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["signatures"] == {} and list(run["drafts"]) == ["copying", "free"]
    for found in run["drafts"].values():
        assert found["same"] is True and 1 <= found["tokens_a_pass"] <= 4
        assert found["plain_tokens_s"] > 0 and found["drafted_tokens_s"] > 0
    assert main(["bench", path, *options]) == 0
    header, *rows = capsys.readouterr().out.partition("threads  text")[2].splitlines()[:3]
    assert header.split() == ["plain/s", "drafted/s", "tokens/pass", "same"]
    assert [row.split()[1] for row in rows] == ["copying", "free"]


def test_run_says_whether_to_speculate(tiny, tmp_path, capsys, monkeypatch):
    path, asked = str(tiny.bundle("drafts", tmp_path / "b")), []
    sampling = Sampling.__post_init__
    monkeypatch.setattr(
        Sampling, "__post_init__", lambda self: (asked.append(self.speculate), sampling(self))
    )
    for options in ([], ["--no-speculate"], ["--speculate"]):
        asked.clear()
        assert main(["run", path, "a b a b", "--max-new-tokens", "5", *options]) == 0
        assert set(asked) == {options != ["--no-speculate"]}
    first, *others = capsys.readouterr().out.splitlines()
    assert others == [first, first]


def test_bench_counts_the_weights_and_the_live_cache(paths, capsys):
    """Rows of an attention model: tables by the row, matrices whole, two layers of cache."""
    options = ["--threads", "1", "--prompt-tokens", "6", "--new-tokens", "5", "--json"]
    assert main(["bench", paths["decoder"], *options]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    width, vocab_size, layers = 8, 17, 2
    weights = 4 * (width * vocab_size + layers * 3 * width * width + 2 * width)
    state = 4 * layers * 2 * width * (6 + 2)  # at the middle of five new tokens
    assert run["token_bytes"] == pytest.approx(weights + state, rel=0.2)


def test_bench_prints_a_table_and_draws_a_chart(paths, capsys, tmp_path):
    options = ["--threads", "1", "--prompt-tokens", "6", "--new-tokens", "4"]
    chart = tmp_path / "decoder.png"
    assert main(["bench", paths["decoder"], *options, "--chart", str(chart)]) == 0
    text = capsys.readouterr().out
    for column in ("prefill/s", "decode/s", "first_ms", "share", "peak_mb"):
        assert column in text
    table = next(line for line in text.splitlines() if line.startswith("threads"))
    assert len(table) <= 80
    assert "GB/s" in text and "fits this processor's cache" in text
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_bench_says_that_other_programs_are_running(monkeypatch):
    assert _load({"cores": 4, "load_average": 0.9}) == []
    assert _load({"cores": 4, "load_average": None}) == []
    assert _load({"cores": 4, "load_average": 3.14})[0].startswith("load average 3.1 on 4 cores")


def test_bench_of_an_encoder_has_latencies_and_no_limit(paths, capsys):
    assert main(["bench", paths["classes"], "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "serve" in text and "items_s" in text
    assert "share" not in text and "GB/s" not in text


@pytest.mark.parametrize(
    "options, message",
    [
        (["--threads", "0"], "--threads must be"),
        (["--prompt-tokens", "0"], "--prompt-tokens must be"),
        (["--chart", "chart.pdf"], "PNG"),
        (["--chart", "absent/chart.png"], "no folder absent"),
    ],
)
def test_bench_refuses_before_it_measures(paths, capsys, monkeypatch, options, message):
    monkeypatch.setattr("modelzoo.bench.report.in_a_child", None)
    assert main(["bench", paths["decoder"], *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
    assert main(["bench", paths["decoder"] + "-absent"]) == 2


def test_bench_without_matplotlib_names_the_extra(paths, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("modelzoo.bench.report.in_a_child", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", paths["decoder"], "--chart", str(tmp_path / "a.png")]) == 2
    assert 'pip install "modelzoo-keras[chart]"' in capsys.readouterr().err


def test_a_measuring_process_that_dies_is_one_message():
    with pytest.raises(ModelzooError, match="process that measured died"):
        in_a_child(os._exit, 1)


def test_standard_input_that_is_no_text_is_an_error(monkeypatch):
    raw = io.BytesIO(b"a b\nc \xff d\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(raw, "utf-8"))
    with pytest.raises(DataError, match="standard input is not utf-8"):
        list(standard_input())


def test_json_for_programs_holds_no_nan(capsys):
    print_json({"a": [1.5, float("nan")], "b": float("inf")})
    assert json.loads(capsys.readouterr().out) == {"a": [1.5, None], "b": None}
    with pytest.raises(ValueError, match="JSON"):
        as_json("embed", "a", [float("nan")])
