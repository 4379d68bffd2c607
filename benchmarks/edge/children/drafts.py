"""A modelzoo decoder bundle as a peer that writes every prompt with drafts and without."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.edge.peer import serve
from benchmarks.edge.prompts import prompt_ids


def main(job: dict) -> None:
    from modelzoo.runtime.generation.loop import generate_tokens
    from modelzoo.runtime.generation.sampling import Sampling
    from modelzoo.runtime.model import load

    model = load(job["bundle"], job["threads"], trust=True)
    clock = time.thread_time if job["threads"] == 1 else time.perf_counter
    stop = tuple(model.tokenizer.stop_tokens)
    ways = {"plain": {"speculate": False}, "drafted": {}}
    drawn = {"temperature": 0.8, "top_p": 0.95, "seed": 7}

    def write(prompt, **options):
        sampling = Sampling(max_new_tokens=job["new"], stop_tokens=stop, **options)
        run = generate_tokens(model.engine.stepper(), [prompt], sampling)
        next(run)
        begin = clock()
        count = sum(1 for _ in run)
        return count / max(clock() - begin, 1e-9), run

    differ = set()  # in any round

    def measure() -> dict:
        found = {}
        for name, text in job["prompts"].items():
            prompt = prompt_ids(model.tokenizer, text)
            runs = {way: write(prompt, **options) for way, options in ways.items()}
            found |= {f"{name} {way}_tokens_s": speed for way, (speed, _) in runs.items()}
            plain, drafted = (run for _, run in runs.values())
            found[f"{name} tokens_a_pass"] = len(drafted.tokens[0]) / drafted.passes[0]
            sampled = [write(prompt, **options, **drawn)[1].tokens for options in ways.values()]
            if plain.tokens != drafted.tokens or sampled[0] != sampled[1]:
                differ.add(name)
            found[f"{name} same"] = "no" if name in differ else "yes"
        return found

    serve({}, measure)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
