"""Section `experts`: mixtures of experts compared with dense models."""

from __future__ import annotations

import statistics

from benchmarks.common import modelzoo, rounded
from benchmarks.edge.peer import Peer, alternate

ROWS, LENGTH = 8, 256  # of a training step
WINDOW, PROMPT, NEW = 256, 32, 96
MODES = ("float32", "int8", "int4")
COUNT = 8
# width, heads, experts a token, width of an expert, capacity
STEPS = (
    (192, 6, 2, 384, 1.25),
    (192, 6, 2, 384, None),
    (256, 4, 2, 512, 1.25),
    (256, 4, 2, 512, None),
    (256, 4, 1, 1024, None),
)
# Experts in each of four layers, 2 of 8 for each token; what a dense layer's width is.
SHAPE = {"vocab_size": 4096, "num_layers": 4, "hidden_dim": 384, "num_heads": 6, "ffn_bias": False}
EXPERT = 768
TRAIN = {"train.steps": 150, "train.batch_size": 8, "train.length": 128}
DENSE = {"dense, equal active size": 2 * EXPERT, "dense, equal total size": COUNT * EXPERT}


def experts(options) -> dict:
    """Experts compared with the dense model of equal active size, and of equal total size.

    A training step is that of a gpt-moe-tiny with 8 experts in each of its four layers, on 8 texts
    of 256 random tokens. Times are those of the processor, with one thread, and the two models make
    their steps in turn. With a capacity some tokens skip their expert, without one none does.
    Decoding: width 384, four layers with 8 experts of width 768, 2 for each token, after 150 steps
    on the docstrings of Python's standard library; 96 tokens after a prompt of 32, one thread. An
    untrained router has no preferences, and 8 bits would change what it chooses.
    """
    bundles = {}
    for name, values in shapes().items():
        work = options.work / "experts" / name.replace(", ", " ").replace(" ", "-")
        if not (work / "model").exists():
            recipe = "gpt-tiny" if name in DENSE else "gpt-moe-tiny"
            changes = [f"--set={key}={toml(value)}" for key, value in {**values, **TRAIN}.items()]
            data = ("--data", "demo:python-docs")
            modelzoo("train", recipe, *data, "-o", work / "model", *changes)
        for mode in MODES:
            bundles[f"{name} {mode}"] = options.bundle(work, mode, WINDOW)
    job = {"prompt": list(range(1000, 1000 + PROMPT)), "new": NEW, "threads": 1}
    peers = [Peer(name, "decoder", {**job, "bundle": str(path)}) for name, path in bundles.items()]
    decode = alternate(peers, options.rounds)
    return {"steps": [step(options, *shape) for shape in STEPS], "decode": decode}


def shapes() -> dict[str, dict]:
    """Model -> what it changes in its recipe."""
    mixture = {"ffn_dim": 2 * EXPERT, "experts.ffn_dim": EXPERT, "experts.pattern": [True]}
    dense = {name: {**SHAPE, "ffn_dim": width} for name, width in DENSE.items()}
    return {"experts": {**SHAPE, **mixture}, **dense}


def toml(value) -> str:
    return str(value).lower()


def step(options, width, heads, top_k, ffn_dim, capacity) -> dict:
    """A row of the table of training steps."""
    shape = {"hidden_dim": width, "num_heads": heads, "ffn_dim": top_k * ffn_dim, "ffn_bias": False}
    mixture = {"count": COUNT, "top_k": top_k, "ffn_dim": ffn_dim, "capacity": capacity}
    mixture |= {"pattern": [True]}
    jobs = {
        "experts": (
            "gpt-moe-tiny",
            {**shape, **{f"experts.{key}": value for key, value in mixture.items()}},
        ),
        "dense": ("gpt-tiny", shape),
    }
    peers = [
        Peer(name, "training_step", {"recipe": recipe, "values": values, **batch()})
        for name, (recipe, values) in jobs.items()
    ]
    found = alternate(peers, options.rounds)
    times = [found[name]["step_cpu_ms"]["all"] for name in jobs]
    best, dense = (found[name]["step_cpu_ms"]["best"] for name in jobs)
    return {
        "width": width,
        "experts a token": f"{top_k} of {COUNT}",
        "capacity": "none" if capacity is None else capacity,
        "parameters": found["experts"]["parameters"],
        "step, CPU ms": best,
        "dense step, CPU ms": dense,
        "ratio, best": best / dense,
        "ratio, median of pairs": statistics.median(a / b for a, b in zip(*times, strict=True)),
    }


def batch() -> dict[str, int]:
    return {"rows": ROWS, "length": LENGTH}


def tables(result: dict) -> dict[str, list[dict]]:
    """Rows of what `experts` found."""
    decode = [
        {
            "": name,
            "tokens/s": found["decode_tokens_s"]["median"],
            "best tokens/s": found["decode_tokens_s"]["best"],
            "CPU ms a token, best": found["decode_cpu_ms"]["best"],
            "resident MB": found["rss_MB"],
        }
        for name, found in result["decode"].items()
    ]
    found = {"training step": result["steps"], "decode on LiteRT, one thread": decode}
    return {
        title: [
            {key: rounded(v) if isinstance(v, float) else v for key, v in row.items()}
            for row in rows
        ]
        for title, rows in found.items()
    }
