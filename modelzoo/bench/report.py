"""One report of a bundle: its sizes, and a run for each number of threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path

from modelzoo import child_process
from modelzoo.bench.measure import measure
from modelzoo.bench.memory import cache_bytes
from modelzoo.bench.traffic import weight_bytes
from modelzoo.errors import ModelzooError
from modelzoo.runtime.cores import usable_cores

# What kernels of matrix products need, as Linux names it: x86-64, then ARM.
FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")
FEATURES += ("asimddp", "i8mm", "sve")


def bench(
    path: str | os.PathLike,
    threads: int | None = None,
    prompt_tokens: int = 128,
    new_tokens: int = 32,
    trust: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> dict:
    """Measure a bundle with 1 to `threads` threads, each in a process of its own.

    Args:
        path: what `modelzoo export` wrote.
        threads: None is one a core that this process may use, four at most.
        prompt_tokens, new_tokens: of a generation; less where the window has no room.
        trust: see `runtime.load`.
        progress: is called with each step's name when it begins.

    Returns:
        `name`, `format`, `precision`, `parameters`, `bundle_bytes`, `model_bytes`, `machine`, and
        `runs`, a dict a number of threads:
        - `check_s` (hashes of all files), `load_s`, `resident_mb` and `peak_mb` of the process;
        - of a TFLite bundle's packed weights `weight_cache` ("found" in the user's cache, "built"
          and kept there, or "none" with `weight_cache_why`), and `pages`, "huge" or their size;
        - a decoder's `prompt_tokens`, `new_tokens`, `prefill_tokens_s` (not without a prompt),
          `first_token_ms`, `decode_tokens_s`; and what the machine allows: `bandwidth_gb_s` as
          read with as many threads and in such pages, `token_bytes` (weights and live state that
          a token must read, at the middle of the generation), `limit_tokens_s` = bandwidth /
          bytes, and `share`, of the limit that decode reaches. A model that the last-level cache
          holds (`token_bytes` < `machine.cache_bytes`) can pass 1;
        - of a bundle that checks drafts `drafts`, plain against drafted decoding of two texts: see
          `modelzoo.bench.drafts.measure_drafts`;
        - `signatures`: name -> `p50_ms`, `p95_ms`, `batch_size`, `items_s` of all others.
        `weight_bytes_from` says how a decoder's weights were counted: see `weight_bytes`.

    Raises:
        BundleError: the bundle is not in order.
        ModelzooError: a number below 1; a process that died.

    Example:
        >>> [run] = bench("gpt.bundle", threads=1, new_tokens=4)["runs"]
        >>> 1000 / run["decode_tokens_s"] < 100  # milliseconds a token
        True
    """
    from modelzoo.runtime.bundle import read_bundle
    from modelzoo.runtime.engines.litert import default_threads
    from modelzoo.runtime.engines.opening import check_model

    numbers = {"threads": threads, "prompt_tokens": prompt_tokens, "new_tokens": new_tokens}
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ModelzooError(f"--{name.replace('_', '-')} must be 1 or more; got {value}")
    bundle = read_bundle(path)
    check_model(bundle, trust)
    files = [bundle.directory / name for name in bundle.manifest["files"]]
    model = bundle.model_path
    machine_now, runs = machine(), []  # the load before our own
    for count in range(1, (threads or default_threads()) + 1):
        progress(f"measuring {count} thread{'s' * (count > 1)}")
        runs.append(in_a_child(measure, str(path), count, prompt_tokens, new_tokens))
    report = {
        "bundle": str(path),
        "name": bundle.manifest["name"],
        "format": bundle.manifest["format"],
        "precision": bundle.manifest.get("precision"),
        "parameters": bundle.manifest.get("parameters"),
        "bundle_bytes": sum(file.stat().st_size for file in files),
        "model_bytes": sum(f.stat().st_size for f in files if f == model or model in f.parents),
        "machine": machine_now,
    }
    if "state_bytes" in runs[0]:
        weights, report["weight_bytes_from"] = weight_bytes(bundle)
        runs = [with_limit(run, weights) for run in runs]
    return report | {"runs": runs}


def with_limit(run: dict, weights: int) -> dict:
    """A decoder's run, with the tokens a second that the bandwidth allows beside the bandwidth.

    Example:
        >>> run = {"bandwidth_gb_s": 10.0, "state_bytes": 20_000_000, "decode_tokens_s": 75.0}
        >>> with_limit(run, weights=80_000_000)["share"]
        0.75
    """
    limited = {}
    for key, value in run.items():
        if key == "state_bytes":
            limited["token_bytes"] = weights + value
            limited["limit_tokens_s"] = run["bandwidth_gb_s"] * 1e9 / limited["token_bytes"]
            limited["share"] = run["decode_tokens_s"] / limited["limit_tokens_s"]
        else:
            limited[key] = value
    return limited


def machine() -> dict:
    """What the figures are of: processor and those of its features that speed depends on, cores
    that this process may use, bytes of its cache, and the load average of the last minute (`None`
    where the system has none)."""
    processor = platform.processor() or platform.machine()
    info, features = Path("/proc/cpuinfo"), set()
    if info.exists():
        lines = [line.partition(":") for line in info.read_text().splitlines()]
        stated = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        processor = stated.get("model name", processor)
        features = {*stated.get("flags", stated.get("Features", "")).split()}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": processor,
        "features": [name for name in FEATURES if name in features],
        "cores": usable_cores(),
        "cache_bytes": cache_bytes(),
        "load_average": load,
    }


def in_a_child(function: Callable, *arguments) -> dict:
    """Call in a fresh process: load time and memory are then those of this bundle alone.

    Raises:
        ModelzooError: the function's own; or the process died, as it does when memory runs out.
    """
    try:
        return child_process.call(function, *arguments)
    except child_process.Died as died:
        raise ModelzooError(
            f"the process that measured died with {died}",
            where=arguments[0],
            next_step="close other programs, or measure a smaller model",
        ) from died
