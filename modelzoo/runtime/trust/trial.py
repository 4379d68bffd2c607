"""The child that tries a model: `python -m modelzoo.runtime.trust.trial < JOB.json`.

It loads the model and runs each signature once, with bounds on time, memory and files. It answers
with a line of JSON: null, or the error of the engine. What ends the process ends this one alone.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from modelzoo.child_process import answer_stream
from modelzoo.errors import MissingDependencyError, ModelzooError
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.engines.base import Engine, SignatureInfo
from modelzoo.runtime.engines.opening import ENGINES

MEMORY = 4 << 30  # bytes of memory, and eight times the model's on top


def try_model(bundle: Bundle, engine: str) -> None:
    """Load a model and run each of its signatures once, on zeros."""
    opened: Engine = _class_of(engine)(bundle, 1)
    for name, info in opened.signatures.items():
        opened.run(name, _zeros(info))


def _class_of(engine: str) -> type:
    if engine in ENGINES:
        return ENGINES[engine].load()
    from modelzoo.runtime.engines.packed import PackedEngine  # LiteRT-LM's file, which we only try

    return PackedEngine


def _zeros(info: SignatureInfo) -> dict[str, np.ndarray]:
    # A size that is open, None, is 1.
    return {
        name: np.zeros([size or 1 for size in tensor.shape], tensor.dtype)
        for name, tensor in info.inputs.items()
    }


def bound(seconds: float, size: int) -> None:
    """Bound what this process may use, where the system can."""
    with suppress(ImportError):  # Windows: the parent's clock is all there is
        import resource

        present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = min(present * 3 // 4, MEMORY + 8 * size)
        for limit, value in (
            (resource.RLIMIT_CPU, int(seconds) + 1),
            (resource.RLIMIT_DATA, memory),
            (resource.RLIMIT_FSIZE, memory),  # LiteRT packs weights into a file in memory
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(limit)[1]
            allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (allowed, hard))


def main() -> None:
    with answer_stream() as answers:
        job = json.load(sys.stdin)
        bound(job["seconds"] * (os.cpu_count() or 1), job["bytes"])
        error = None
        try:
            try_model(Bundle(Path(job["directory"]), job["manifest"]), job["engine"])
        except MissingDependencyError:
            raise
        except ModelzooError as found:
            error = {"what": found.what, "next_step": found.next_step}
        answers.write(json.dumps(error).encode())
    os._exit(0)  # native code would go on to talk while it cleans up


if __name__ == "__main__":
    main()
