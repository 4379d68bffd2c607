"""llama.cpp as a peer that writes every prompt plainly and with llama-cpp-python's own lookup.

Plain decoding is that of `benchmarks.edge.children.llama`. With a draft model `Llama.generate` has
the only loop that checks drafts, so its Python is counted in that column.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.edge.peer import serve


def main(job: dict) -> None:
    import llama_cpp
    import numpy as np
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

    def opened(**more):
        return llama_cpp.Llama(
            model_path=job["model"],
            n_ctx=job["window"],
            n_threads=job["threads"],
            n_threads_batch=job["threads"],
            verbose=False,
            **more,
        )

    plain, lookup = opened(), opened(draft_model=LlamaPromptLookupDecoding(num_pred_tokens=3))
    clock = time.thread_time if job["threads"] == 1 else time.perf_counter
    size = plain.n_vocab()

    def largest() -> int:
        pointer = llama_cpp.llama_get_logits_ith(plain._ctx.ctx, -1)
        return int(np.ctypeslib.as_array(pointer, shape=(size,)).argmax())

    def plainly(ids):
        plain.reset()
        plain.eval(ids)
        token = largest()
        while True:
            yield token
            plain.eval([token])
            token = largest()

    def speed(tokens) -> float:
        end, count = {plain.token_eos()}, 0
        next(tokens)
        begin = clock()
        for token in tokens:
            count += 1
            if token in end or count == job["new"] - 1:
                break
        return count / max(clock() - begin, 1e-9)

    def measure() -> dict:
        found = {}
        for name, text in job["prompts"].items():
            ids = plain.tokenize(
                text.encode(), add_bos=True, special=True
            )  # where the file has one
            lookup.reset()
            found[f"{name} plain_tokens_s"] = speed(plainly(ids))
            found[f"{name} lookup_tokens_s"] = speed(lookup.generate(ids, temp=0.0))
        return found

    serve({}, measure)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
