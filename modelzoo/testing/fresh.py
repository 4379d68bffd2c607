"""What has to be seen in a fresh process: listing, importing, opening what was saved.

python -m modelzoo.testing.fresh      a job as JSON on standard input, its answer on the output
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from modelzoo import child_process
from modelzoo.testing.check import fail

__all__ = ["answer", "outputs"]

TIMEOUT = 300


def answer(job: dict) -> dict:
    """The answer of a fresh process, which sees what this one sees.

    Raises:
        CheckFailure: it died, or took longer than five minutes.
    """
    variables = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if "keras" in sys.modules:
        variables["KERAS_BACKEND"] = sys.modules["keras"].backend.backend()
    text = json.dumps(job).encode()
    try:
        ended = child_process.run(
            "modelzoo.testing.fresh", input=text, timeout=TIMEOUT, variables=variables
        )
    except TimeoutError:
        fail(f"a fresh process did not finish {job['job']!r} in {TIMEOUT} s")
    if ended.code or not ended.answer:
        fail(
            f"a fresh process died over {job['job']!r} with exit code {ended.code}: "
            f"{ended.last_words}",
            next_step="a plugin must neither exit nor kill the interpreter when it is imported",
        )
    return json.loads(ended.answer)


def outputs(path: Path, namespace: str, x, scratch: Path) -> dict:
    """What the saved model at `path` answers to `x` in a fresh process: path -> float64."""
    import keras
    import numpy as np

    leaves = keras.tree.flatten(x)
    np.savez(scratch / "x.npz", *leaves)
    structure = keras.tree.pack_sequence_as(x, list(range(len(leaves))))
    job = {
        "job": "open",
        "namespace": namespace,
        "path": str(path),
        "x": str(scratch / "x.npz"),
        "structure": structure,
        "answer": str(scratch / "y.npz"),
    }
    found = answer(job)
    if "error" in found:
        fail(
            f"the saved model does not open in a fresh process: {found['error']}",
            next_step="register its classes: keras.saving.register_keras_serializable"
            f"({namespace!r}), in a module that the entry points import",
        )
    with np.load(scratch / "y.npz") as file:
        return {name: file[f"y{number}"] for number, name in enumerate(found["names"])}


# === In the child ===


def main() -> int:
    with child_process.answer_stream() as answers:
        job = json.load(sys.stdin)
        answers.write(json.dumps(_JOBS[job["job"]](job)).encode())
    return 0


def _list(job: dict) -> dict:
    """The list as `modelzoo list` makes it, and which of the watched modules that imported."""
    import time

    began = time.process_time()
    from modelzoo import registry

    entries = [
        {"name": entry.name, "problem": entry.problem}
        for entry in (*registry.names(), *registry.bundles())
        if entry.name.startswith(job["namespace"] + "/")
    ]
    seconds = time.process_time() - began
    imported = sorted(name for name in job["watched"] if name in sys.modules)
    return {"entries": entries, "imported": imported, "seconds": seconds}


def _import(job: dict) -> dict:
    from modelzoo.testing.globals import importing

    return importing(job["namespace"], job["builds"])


def _open(job: dict) -> dict:
    import keras
    import numpy as np

    from modelzoo import plugins
    from modelzoo.building.directory import load
    from modelzoo.testing.compare import outputs_of

    with np.load(job["x"]) as file:
        leaves = [file[f"arr_{number}"] for number in range(len(file.files))]
    x = keras.tree.map_structure(lambda number: leaves[number], job["structure"])
    try:
        if os.path.isdir(job["path"]):
            model = load(job["path"], compile=False)
        else:
            plugins.import_package(job["namespace"])
            model = keras.saving.load_model(job["path"], compile=False)
    except Exception as error:
        # Keras' own sentence stands far down in pages of configuration.
        said = re.search(r"Could not locate [^.]*\.", str(error)) or re.match(r".*", str(error))
        return {"error": f"{type(error).__name__}: {said.group()}"}
    found = outputs_of(model, x)
    np.savez(job["answer"], **{f"y{number}": value for number, value in enumerate(found.values())})
    return {"names": list(found)}


_JOBS = {"list": _list, "import": _import, "open": _open}

if __name__ == "__main__":
    sys.exit(main())
