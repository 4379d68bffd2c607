"""llama.cpp as a peer: a child that runs in llama-cpp-python's own environment.

It calls `Llama.eval`, the library's thin layer over `llama_decode`, and takes the largest logit by
numpy: nothing of its Python sampler is counted.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.edge.peer import nats_a_token, serve


def main(job: dict) -> None:
    import llama_cpp
    import numpy as np

    began = time.perf_counter()
    llama = llama_cpp.Llama(
        model_path=job["model"],
        n_ctx=job["window"],
        n_threads=job["threads"],
        n_threads_batch=job["threads"],
        verbose=False,
        **job.get("options", {}),
    )
    loaded = time.perf_counter() - began
    vocabulary = llama.n_vocab()

    def logits():
        pointer = llama_cpp.llama_get_logits_ith(llama._ctx.ctx, -1)
        return np.ctypeslib.as_array(pointer, shape=(vocabulary,))

    def largest() -> int:
        return int(logits().argmax())

    def measure() -> dict:
        llama.reset()
        tokens, times = [], [time.perf_counter()]
        llama.eval(job["prompt"])
        tokens.append(largest())
        times.append(time.perf_counter())
        while len(tokens) < job["new"]:
            llama.eval(tokens[-1:])
            tokens.append(largest())
            times.append(time.perf_counter())
        return {
            "first_token_ms": (times[1] - times[0]) * 1e3,
            "prefill_tokens_s": len(job["prompt"]) / (times[1] - times[0]),
            "decode_tokens_s": (len(tokens) - 1) / (times[-1] - times[1]),
            "tokens": tokens,
        }

    def perplexity() -> dict:
        def each(window):
            llama.reset()
            for token in window:
                llama.eval([token])
                yield logits()

        return {"nats": nats_a_token(job["windows"], each)}

    serve({"load_s": loaded}, perplexity if "windows" in job else measure)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
