"""Reading a checkpoint beside `transformers`: seconds, and memory at its peak.

    python benchmarks/loading.py

needs `pip install "modelzoo-keras[tensorflow]" transformers torch`. A SmolLM2-135M with random
weights is written in Hugging Face layout (float32, 538 MB), and read by each in a process of its
own. Imports are done before the clock starts; memory is what the reading adds at its peak.
`transformers` maps the file and touches it when it answers: the first answer is counted too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def resident() -> float:
    """GiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


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
    return {"seconds": seconds, "to first answer": ready, "GiB at peak": memory.added}


def child(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
        subprocess.run([sys.executable, "-c", write, args.model, str(target)], check=True)
        for name in READERS:
            child(name, target)  # the file is in the system's cache from now on
        results = {name: child(name, target) for name in READERS}
    print(f"{args.model}\n| | modelzoo | transformers | ratio |\n|---|---|---|---|")
    for key in results["modelzoo"]:
        ours, theirs = results["modelzoo"][key], results["transformers"][key]
        print(f"| {key} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |")


if __name__ == "__main__":
    main()
