"""Sections `bert` and `minilm`: encoders compared with ONNX Runtime."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import environment, modelzoo, rounded, run
from benchmarks.edge.children.onnx import KINDS
from benchmarks.edge.peer import Peer, alternate

LENGTH = 128
MODES = ("float32", "int8")


def minilm(options) -> dict:
    """MiniLM compared with ONNX Runtime, the same weights.

    all-MiniLM-L6-v2, milliseconds a text of 128 tokens. ONNX Runtime runs a plain and a fused
    graph; the ratio is over the faster one. The cosine is to PyTorch's graph in float32.
    """
    return compare("minilm", options, lambda folder: Path(options.minilm))


def bert(options) -> dict:
    """BERT-base compared with ONNX Runtime.

    Random weights, which cost as much time as any; else as MiniLM.
    """

    def checkpoint(folder: Path) -> Path:
        # MiniLM has BERT's vocabulary: its tokenizer and layout, around a larger model.
        skip = shutil.ignore_patterns("model.safetensors")
        shutil.copytree(options.minilm, folder, ignore=skip, dirs_exist_ok=True)
        code = (
            "import sys, torch, transformers; torch.manual_seed(0); "
            "transformers.BertModel(transformers.BertConfig()).save_pretrained(sys.argv[1])"
        )
        run([sys.executable, "-c", code, folder])
        pooling = folder / "1_Pooling" / "config.json"
        values = {**json.loads(pooling.read_text()), "word_embedding_dimension": 768}
        pooling.write_text(json.dumps(values))
        return folder

    return compare("bert", options, checkpoint)


def compare(name: str, options, checkpoint: Callable[[Path], Path]) -> dict:
    """Every mode of both, in turn, with one thread and with two.

    Returns:
        {"runs": [{"threads", "peers", "ratios"}]}; a ratio is how many times faster ours is than
        the faster of ONNX Runtime's two files of that mode.
    """
    work = options.work / name
    source = work / "checkpoint"
    if not (work / "onnx" / f"{KINDS[-1]}.onnx").exists():
        work.mkdir(parents=True, exist_ok=True)
        source = checkpoint(source)
        modelzoo("build", source, "-o", work / "model", "--force")
        (work / "onnx").mkdir(exist_ok=True)
        job = {"checkpoint": str(source), "folder": str(work / "onnx"), "length": LENGTH}
        module = "benchmarks.edge.children.onnx"
        run([sys.executable, "-m", module, json.dumps(job)], env=environment())
    modes = [mode for mode in MODES if mode == "float32" or mode in options.modes]
    bundles = {mode: options.bundle(work, mode, LENGTH) for mode in modes}
    tokens = [101, *range(2000, 2000 + LENGTH - 2), 102]
    runs = []
    for threads in options.threads:
        job = {"tokens": tokens, "threads": threads, "calls": options.calls}
        peers = [
            Peer(f"modelzoo {mode}", "encoder", {**job, "bundle": str(path)})
            for mode, path in bundles.items()
        ]
        peers += [
            Peer(f"ONNX Runtime {kind}", "onnx", {**job, "model": f"{work}/onnx/{kind}.onnx"})
            for kind in KINDS
        ]
        results = alternate(peers, options.rounds)
        runs.append({"threads": threads, "peers": results, "ratios": _ratios(results, bundles)})
        _add_cosines(results)
    return {"length": LENGTH, "runs": runs}


def _ratios(results: dict, modes) -> dict[str, dict[str, float]]:
    return {
        mode: {
            statistic: min(
                results[f"ONNX Runtime {kind}"]["latency_ms"][statistic]
                for kind in (mode, f"{mode}-fused")
            )
            / results[f"modelzoo {mode}"]["latency_ms"][statistic]
            for statistic in ("median", "best")
        }
        for mode in modes
    }


def _add_cosines(results: dict) -> None:
    """How near each answer is to PyTorch's graph in float32: all of them run the same model."""
    import numpy as np

    exact = np.array(results["ONNX Runtime float32"]["embedding"])
    for result in results.values():
        result["cosine"] = float(np.dot(exact, np.array(result.pop("embedding"))))


def tables(result: dict) -> dict[str, list[dict]]:
    """Rows of what `compare` found."""
    latency, ratios = [], []
    for one in result["runs"]:
        for peer, figures in one["peers"].items():
            latency.append(
                {
                    "": peer,
                    "threads": one["threads"],
                    "p50 ms": rounded(figures["latency_ms"]["median"]),
                    "best ms": rounded(figures["latency_ms"]["best"]),
                    "resident MB": rounded(figures["rss_MB"]),
                    "cosine": round(figures["cosine"], 4),
                }
            )
        for mode, ratio in one["ratios"].items():
            found = {key: rounded(value) for key, value in ratio.items()}
            ratios.append({"": mode, "threads": one["threads"], **found})
    return {"latency": latency, "times as fast as the faster ONNX Runtime": ratios}
