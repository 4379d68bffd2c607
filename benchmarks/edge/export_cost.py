"""Sections `sizes` and `export`: bytes of a file, time and memory of an export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.common import environment, rounded
from benchmarks.edge.decoders import DECODERS, WINDOW, model_of
from benchmarks.edge.encoders import LENGTH
from benchmarks.edge.gguf_files import gguf_shapes, minimum

# === Sizes ===


def sizes(options) -> dict:
    """Bytes of a bundle over the least possible.

    The least is the weights alone: matrices in the mode with their scales, vectors in float32.
    Measured are the models that this run or an earlier one kept.
    """
    work = options.work / "smollm2"
    model_of(options, DECODERS["smollm2"])
    known = {"smollm2": (gguf_shapes(options.gguf), WINDOW)}
    known |= {
        name: (safetensors_shapes(path / "model.safetensors", LENGTH), LENGTH)
        for name, path in (
            ("minilm", Path(options.minilm)),
            ("bert", work.parent / "bert/checkpoint"),
        )
        if (path / "model.safetensors").exists() and (work.parent / name / "model").exists()
    }
    found = {}
    for name, (shapes, length) in known.items():
        for mode in dict.fromkeys(("float32", *options.modes)):
            if "+" in mode or (mode == "int4" and name != "smollm2"):
                continue  # a cache is no part of the file
            file = options.bundle(options.work / name, mode, length) / "model.tflite"
            least = minimum(shapes, mode)
            size = file.stat().st_size
            found[f"{name} {mode}"] = {
                "bytes": size,
                "least": least,
                "ratio": round(size / least, 3),
            }
    return found


def safetensors_shapes(path: Path, length: int) -> dict[str, tuple[int, ...]]:
    """What an encoder's answer needs: no more positions than `length`, and no pooler."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes = {
        name: tuple(tensor["shape"])
        for name, tensor in header.items()
        if name != "__metadata__" and "pooler" not in name and "position_ids" not in name
    }
    return {
        name: (min(shape[0], length), *shape[1:]) if "position_embeddings" in name else shape
        for name, shape in shapes.items()
    }


# === The cost of an export ===


def export(options) -> dict:
    """The time and memory of an export.

    `modelzoo export` of SmolLM2 with all signatures and its verification, compared with the
    conversion of the same signatures alone.
    """
    work = options.work / "smollm2"
    model = model_of(options, DECODERS["smollm2"])
    mode = "int8" if "int8" in options.modes else options.modes[0]
    commands = {
        "modelzoo export": [
            *(sys.executable, "-m", "modelzoo", "export", model, "-o", work / "again.bundle"),
            *("--set", f"export.max_length={WINDOW}", "--quantize", mode, "--force"),
        ],
        "conversion alone": [
            *(sys.executable, "-m", "benchmarks.edge.children.conversion"),
            *(model, WINDOW, mode),
        ],
    }
    found = {name: cost(command) for name, command in commands.items()}
    ours, bare = found.values()
    ratios = {key: ours[key] / bare[key] for key in ours}
    return {"mode": mode, **found, "ratios": ratios}


def cost(command: list) -> dict[str, float]:
    """Seconds, and the most GiB that the command and all its children held at one time."""
    began = time.perf_counter()
    child = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    most, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, sum(_resident(one) for one in _family(child.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = child.communicate()[1]
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{said[-3000:]}")
    return {"seconds": seconds, "peak GiB": most}


def _family(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        lists = [(task / "children").read_text().split() for task in tasks]
    except OSError:  # it is gone by now
        return []
    return [pid, *(one for found in lists for child in found for one in _family(int(child)))]


def _resident(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def size_tables(result: dict) -> dict[str, list[dict]]:
    """Rows of what `sizes` found."""
    return {"model.tflite": [{"": key, **one} for key, one in result.items()]}


def cost_tables(result: dict) -> dict[str, list[dict]]:
    """Rows of what `export` found."""
    rows = [
        {"": name, **{key: rounded(value) for key, value in result[name].items()}}
        for name in ("modelzoo export", "conversion alone", "ratios")
    ]
    return {f"SmolLM2, {result['mode']}": rows}
