"""Reading a checkpoint, compared with `transformers`.

    python -m benchmarks.house.loading

Needs `pip install "modelzoo-keras[tensorflow]" transformers torch`. A SmolLM2-135M with random
weights is written in Hugging Face layout (float32, 538 MB), and read by each in a process of its
own. Imports are done before the clock starts; memory is what the reading adds at its peak.
`transformers` keeps the mapped file as its weights and touches it when it answers; a Keras model
has variables of its own. So the first answer is counted too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import common
from benchmarks.common import environment, in_child, run, write_result
from modelzoo.bench.memory import resident_bytes


def resident() -> float:
    """GiB that this process holds now."""
    return (resident_bytes() or 0) / 2**30


class Peak:
    """The most memory that was held while the block ran, above what was held before it."""

    def __enter__(self):
        self.before = self.most = resident()
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self):
        while not self._done.wait(0.005):
            self.most = max(self.most, resident())

    def __exit__(self, *_):
        self._done.set()
        self._watch.join()
        self.added = max(self.most, resident()) - self.before


def read_modelzoo(folder: str):
    import numpy as np

    import modelzoo

    model = modelzoo.build(folder, compile=False)
    return lambda: model(np.ones((1, 1), "int32"))


def read_transformers(folder: str):
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return lambda: model(torch.tensor([[1]]))


READERS = {"modelzoo": read_modelzoo, "transformers": read_transformers}


def measure(name: str, folder: str) -> dict[str, float]:
    """Runs in a child."""
    if name == "modelzoo":
        import modelzoo

        modelzoo.build("gpt-tiny", compile=False)  # imports TensorFlow, starts its threads
    else:
        import torch  # noqa: F401
        import transformers

        transformers.LlamaForCausalLM(transformers.LlamaConfig(num_hidden_layers=1, vocab_size=9))
    with Peak() as memory:
        began = time.perf_counter()
        answer = READERS[name](folder)
        seconds = time.perf_counter() - began
        answer()  # a file that is only mapped is read now
        ready = time.perf_counter() - began
    return {"seconds": seconds, "s to first answer": ready, "GiB at peak": memory.added}


def child(name: str, folder: Path) -> dict[str, float]:
    return in_child("benchmarks.house.loading", "--child", name, "--folder", folder)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child, args.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write = (
            "import sys, modelzoo; from modelzoo.weights import write_checkpoint; "
            "write_checkpoint(modelzoo.build(sys.argv[1], compile=False), sys.argv[2])"
        )
        target = Path(folder) / "checkpoint"
        run([sys.executable, "-c", write, args.model, target], env=environment())
        for name in READERS:
            child(name, target)  # the file is in the system's cache from now on
        results = {name: child(name, target) for name in READERS}
    ours, theirs = results.values()
    results["ratio"] = {key: ours[key] / theirs[key] for key in ours}
    rows = [
        {"": name, **{key: round(value, 2) for key, value in found.items()}}
        for name, found in results.items()
    ]
    packages = ("keras", "tensorflow", "torch", "transformers")
    write_result("loading", {args.model: rows}, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
