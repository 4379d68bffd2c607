"""A modelzoo encoder bundle as a peer."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.edge.peer import serve


def main(job: dict) -> None:
    import numpy as np

    from modelzoo.runtime.bundle import read_bundle
    from modelzoo.runtime.engines.opening import open_engine

    began = time.perf_counter()
    engine = open_engine(read_bundle(job["bundle"]), job["threads"])
    loaded = time.perf_counter() - began
    length = len(job["tokens"])
    name, signature = next(
        (name, info)
        for name, info in engine.signatures.items()
        if name.startswith("embed") and info.inputs["token_ids"].shape == (1, length)
    )
    values = {"token_ids": [job["tokens"]], "padding_mask": np.ones((1, length))}
    inputs = {
        key: np.asarray(values.get(key, np.zeros((1, length))), tensor.dtype)
        for key, tensor in signature.inputs.items()
    }

    def measure() -> dict:
        times = []
        for _ in range(job["calls"]):
            began = time.perf_counter()
            embedding = engine.run(name, inputs)["embedding"]
            times.append((time.perf_counter() - began) * 1e3)
        return {"latency_ms": float(np.median(times)), "embedding": embedding[0].tolist()}

    serve({"load_s": loaded, "signature": name}, measure)


def recall(job: dict) -> None:
    """How often the passage of a query is the nearest of all, or among the five nearest."""
    import numpy as np

    from modelzoo.runtime import load

    model = load(job["bundle"])
    pairs = json.loads(Path(job["pairs_file"]).read_text("utf-8"))

    def measure() -> dict:
        queries, passages = (
            model.embed([pair[side] for pair in pairs], truncate=True) for side in (0, 1)
        )
        scores = queries @ passages.T
        own = np.diag(scores)[:, None]
        rank = (scores > own).sum(1)  # passages that are nearer than the right one
        return {f"recall@{n}": float((rank < n).mean()) for n in (1, 5)}

    serve({}, measure)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    (recall if "pairs_file" in given else main)(given)
