"""modelzoo bench: how fast a bundle is on this machine, and how much memory it takes."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from modelzoo.cli.common import examples, print_json, table
from modelzoo.errors import ModelzooError


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "bench",
        description="Measure a bundle: load time, size, memory, and tokens a second or latency. "
        "Each number of threads is measured in a process of its own.",
        epilog=examples(
            "modelzoo bench gpt.bundle",
            "modelzoo bench gpt.bundle --threads 4 --prompt-tokens 256 --new-tokens 64",
            "modelzoo bench sentiment.bundle --json",
        ),
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="what `modelzoo export` wrote")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="measure 1 to N threads (the cores, 4 at most)"
    )
    parser.add_argument("--prompt-tokens", type=int, default=128, metavar="N", help="(128)")
    parser.add_argument("--new-tokens", type=int, default=32, metavar="N", help="(32)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo.runtime.bundle import read_bundle
    from modelzoo.runtime.litert import default_threads

    for name in ("threads", "prompt_tokens", "new_tokens"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ModelzooError(f"--{name.replace('_', '-')} must be 1 or more; got {value}")
    bundle = read_bundle(args.bundle)
    files = [bundle.directory / name for name in bundle.manifest["files"]]
    model = bundle.model_path
    report = {
        "bundle": str(args.bundle),
        "name": bundle.manifest["name"],
        "format": bundle.manifest["format"],
        "precision": bundle.manifest.get("precision"),
        "parameters": bundle.manifest.get("parameters"),
        "bundle_bytes": sum(path.stat().st_size for path in files),
        "model_bytes": sum(p.stat().st_size for p in files if p == model or model in p.parents),
        "runs": [
            _in_a_child(args.bundle, threads, args.prompt_tokens, args.new_tokens)
            for threads in range(1, (args.threads or default_threads()) + 1)
        ],
    }
    if args.json:
        print_json(report)
    else:
        print(as_text(report))
    return 0


def as_text(report: dict) -> str:
    head = (
        f"{report['name']} ({report['format']}, {report['precision'] or 'unknown precision'}): "
        f"model {report['model_bytes'] / 1e6:,.1f} MB, "
        f"bundle {report['bundle_bytes'] / 1e6:,.1f} MB"
    )
    columns = [key for key in report["runs"][0] if key != "signatures"]
    rows = [[_shown(run[key]) for key in columns] for run in report["runs"]]
    parts = [head, "", table(columns, rows, right=",".join(columns))]
    latencies = [
        (run["threads"], name, *(f"{value[key]:.2f}" for key in ("p50_ms", "p95_ms")))
        for run in report["runs"]
        for name, value in run["signatures"].items()
    ]
    if latencies:
        header = ("threads", "signature", "p50_ms", "p95_ms")
        parts += ["", table(header, latencies, right="threads,p50_ms,p95_ms")]
    return "\n".join(parts)


def _shown(value) -> str:
    if value is None:
        return "-"
    return f"{value:,.3g}" if isinstance(value, float) and value < 100 else f"{value:,.0f}"


def _in_a_child(path: str, threads: int, prompt_tokens: int, new_tokens: int) -> dict:
    """Measure in a fresh process: load time and memory are then those of this bundle alone."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, path, threads, prompt_tokens, new_tokens).result()


def measure(path: str, threads: int, prompt_tokens: int, new_tokens: int) -> dict:
    """The numbers of one process: seconds, milliseconds, tokens a second, and megabytes."""
    from modelzoo.runtime.bundle import read_bundle
    from modelzoo.runtime.engine import open_engine

    start = time.perf_counter()
    bundle = read_bundle(path)
    checked = time.perf_counter()
    engine = open_engine(bundle, threads)
    loaded = time.perf_counter()
    report = {"threads": threads, "check_s": checked - start, "load_s": loaded - checked}
    vocab_size = bundle.manifest.get("vocab_size") or 1
    if "decode" in engine.signatures:
        report |= measure_generation(engine, vocab_size, prompt_tokens, new_tokens)
    report["memory_mb"] = None  # last, but shown before the signatures
    report["signatures"] = {
        name: _latency(lambda: engine.run(name, arrays))  # noqa: B023 (called at once)
        for name, info in engine.signatures.items()
        if not name.startswith(("prefill", "decode"))
        for arrays in [some_inputs(info, vocab_size)]
    }
    peak = peak_memory()
    report["memory_mb"] = None if peak is None else peak / 1e6
    return report


def measure_generation(engine, vocab_size: int, prompt_tokens: int, new_tokens: int) -> dict:
    """Prefill and decode speed, greedy, from a prompt of that many tokens (or what fits)."""
    import numpy as np

    from modelzoo.runtime.generation import generate_tokens
    from modelzoo.runtime.sampling import Sampling

    source = None
    if "encode" in engine.signatures:
        source = some_inputs(engine.signatures["encode"], vocab_size)
    window = engine.stepper(source).max_length
    if window is not None:
        new_tokens = min(new_tokens, max(1, window // 2))
        prompt_tokens = max(1, min(prompt_tokens, window - new_tokens + 1))
    if source is not None:
        prompt_tokens = 1  # the decoder of an encoder-decoder begins with its start token
    prompt = np.random.default_rng(0).integers(0, vocab_size, prompt_tokens).tolist()
    first, steps, sampling = [], [], Sampling(max_new_tokens=new_tokens)
    for attempt in range(4):
        run = generate_tokens(engine.stepper(source), [prompt], sampling)
        times = [time.perf_counter()]
        times += [time.perf_counter() for _ in run]
        if attempt:  # the first one packs weights and fills caches
            first.append(times[1] - times[0])
            steps += [later - earlier for earlier, later in zip(times[1:], times[2:], strict=False)]
    to_first, step = float(np.median(first)), float(np.median(steps or first))
    report = {"prompt_tokens": prompt_tokens, "new_tokens": new_tokens}
    if prompt_tokens > 1:
        report["prefill_tokens_s"] = (prompt_tokens - 1) / max(to_first - step, 1e-9)
    return report | {"first_token_ms": to_first * 1e3, "decode_tokens_s": 1 / step}


def some_inputs(info, vocab_size: int) -> dict:
    """Full-length inputs for a signature: random ids and numbers, nothing masked."""
    import numpy as np

    rng = np.random.default_rng(0)
    arrays = {}
    for name, tensor in info.inputs.items():
        if "mask" in name:
            arrays[name] = np.ones(tensor.shape, tensor.dtype)
        elif "token_ids" in name:
            arrays[name] = rng.integers(0, vocab_size, tensor.shape).astype(tensor.dtype)
        elif np.issubdtype(np.dtype(tensor.dtype), np.floating):
            arrays[name] = rng.normal(size=tensor.shape).astype(tensor.dtype)
        else:
            arrays[name] = np.zeros(tensor.shape, tensor.dtype)
    return arrays


def _latency(call) -> dict[str, float]:
    """Milliseconds of a call, over twenty calls or three seconds."""
    import numpy as np

    call()
    times, begin = [], time.perf_counter()
    while len(times) < 20 and (len(times) < 3 or time.perf_counter() - begin < 3):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50_ms": float(p50), "p95_ms": float(p95)}


def peak_memory() -> int | None:
    """Bytes of memory that this process has had resident at most; None where no one tells."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: that one counts what the parent had before this process began.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if os.name == "nt":
        return None
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
