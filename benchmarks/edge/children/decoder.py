"""A modelzoo decoder bundle as a peer: the runtime of the base install alone."""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise

from benchmarks.edge.peer import nats_a_token, serve


def main(job: dict) -> None:
    import numpy as np

    from modelzoo.runtime.bundle import read_bundle
    from modelzoo.runtime.engines.opening import open_engine
    from modelzoo.runtime.generation.loop import generate_tokens
    from modelzoo.runtime.generation.sampling import Sampling

    began = time.perf_counter()
    engine = open_engine(read_bundle(job["bundle"]), job["threads"], job.get("weight_cache"))
    loaded = time.perf_counter() - began
    sampling = Sampling(max_new_tokens=job.get("new", 1), temperature=0, speculate=False)

    def measure() -> dict:
        run = generate_tokens(engine.stepper(), [job["prompt"]], sampling)
        tokens, times = [], [time.perf_counter()]
        for _, token in run:
            tokens.append(token)
            times.append(time.perf_counter())
        steps = [later - earlier for earlier, later in pairwise(times[1:])]
        return {
            "first_token_ms": (times[1] - times[0]) * 1e3,
            "prefill_tokens_s": len(job["prompt"]) / (times[1] - times[0]),
            "decode_tokens_s": len(steps) / sum(steps),
            "tokens": tokens,
        }

    def perplexity() -> dict:
        def logits(window):
            stepper = engine.stepper()
            for position, token in enumerate(window):
                arrays = (np.array([[n]], np.int32) for n in (token, position))
                yield stepper.decode(*arrays)[0]

        return {"nats": nats_a_token(job["windows"], logits)}

    ready = {"load_s": loaded, "signatures": list(engine.signatures)}
    serve(ready, perplexity if "windows" in job else measure)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
