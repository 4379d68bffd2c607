"""Sections `sizes` and `export`: bytes beside the least possible, and what exporting costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from edge_common import HERE, markdown
from edge_encoders import LENGTH
from edge_gguf import gguf_shapes, minimum
from edge_smollm2 import WINDOW, model_of

# === Sizes ===


def sizes(options) -> dict:
    """Each bundle's `model.tflite` that this run knows of, over the arithmetic minimum."""
    work = options.work / "smollm2"
    model_of(options, work)
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
            found[f"{name} {mode}"] = {"bytes": size, "least": least, "ratio": size / least}
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
    """`modelzoo export`, verification and all, beside the conversion of the same signatures."""
    work = options.work / "smollm2"
    model = model_of(options, work)
    mode = "int8" if "int8" in options.modes else options.modes[0]
    commands = {
        "modelzoo export": [
            *(sys.executable, "-m", "modelzoo", "export", model, "-o", work / "again.bundle"),
            *("--set", f"export.max_length={WINDOW}", "--quantize", mode, "--force"),
        ],
        "conversion alone": [sys.executable, HERE / "edge_bare.py", model, str(WINDOW), mode],
    }
    found = {name: cost(command) for name, command in commands.items()}
    ours, bare = found.values()
    ratios = {key: ours[key] / bare[key] for key in ours}
    return {"mode": mode, **found, "ratios": ratios}


def cost(command: list) -> dict[str, float]:
    """Seconds, and the most GiB that the command and all its children held at one time."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(HERE.parent)}
    began = time.perf_counter()
    child = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
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
    return {"seconds": seconds, "peak_GiB": most}


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


def tables(name: str, result: dict) -> str:
    if name == "sizes":
        rows = [
            (key, f"{one['bytes']:,}", f"{one['least']:,}", f"{one['ratio']:.3f}")
            for key, one in result.items()
        ]
        header = ("model.tflite", "bytes", "least", "ratio")
        return f"### File sizes\n\n{markdown(header, rows)}"
    names = ("modelzoo export", "conversion alone", "ratios")
    rows = [(key, *(result[one][key] for one in names)) for key in result["ratios"]]
    header = ("", *names[:2], "ratio")
    return f"### Export of SmolLM2, {result['mode']}\n\n{markdown(header, rows)}"
