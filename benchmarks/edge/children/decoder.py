"""A modelzoo decoder bundle as a peer: the runtime of the base install alone."""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise

from benchmarks.edge.peer import serve


def main(job: dict) -> None:
    from modelzoo.runtime.bundle import read_bundle
    from modelzoo.runtime.engines.base import plan_steps
    from modelzoo.runtime.engines.opening import open_engine
    from modelzoo.runtime.generation.loop import generate_tokens
    from modelzoo.runtime.generation.sampling import Sampling
    from modelzoo.runtime.generation.scoring import Scorer

    began = time.perf_counter()
    engine = open_engine(read_bundle(job["bundle"]), job["threads"], job.get("weight_cache"))
    loaded = time.perf_counter() - began
    sampling = Sampling(max_new_tokens=job.get("new", 1), temperature=0, speculate=False)

    clock = time.thread_time if job.get("cpu") else time.perf_counter

    def measure() -> dict:
        run = generate_tokens(engine.stepper(), [job["prompt"]], sampling)
        tokens, times, used = [], [clock()], []
        for _, token in run:
            tokens.append(token)
            times.append(clock())
            used.append(time.process_time())
        steps = [later - earlier for earlier, later in pairwise(times[1:])]
        return {
            "first_token_ms": (times[1] - times[0]) * 1e3,
            "prefill_tokens_s": len(job["prompt"]) / (times[1] - times[0]),
            "decode_tokens_s": len(steps) / sum(steps),
            "decode_cpu_ms": (used[-1] - used[0]) / len(steps) * 1e3,
            "tokens": tokens,
        }

    def perplexity() -> dict:
        scorer = Scorer(lambda length: engine.stepper(), plan_steps(engine.signatures).max_length)
        scores = [scorer.score(window) for window in job["windows"]]
        total = sum(one.total for one in scores)
        return {"nats": -total / sum(len(one.tokens) for one in scores)}

    ready = {"load_s": loaded, "signatures": list(engine.signatures)}
    serve(ready, perplexity if job.get("windows") else measure)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
