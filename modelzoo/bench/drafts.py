"""Plain decoding against decoding with drafts, on a text that repeats itself and on one that does
not."""

from __future__ import annotations

import time

# Ours. The model is asked to go on with it, or with its fourth repetition.
PASSAGE = (
    "The ferry leaves the harbour at seven every morning. It carries bread, letters and a few "
    "workers to the island, and in the evening it brings back fish and the news of the day. In "
    "winter the sea is often too rough, and then the island waits."
)
REPEATED, ROUNDS = 3, 3


def measure_drafts(engine, tokenizer, new_tokens: int) -> dict:
    """Tokens a second of both ways, for each text.

    Args:
        engine: of a decoder.
        tokenizer: `None` takes ids from the whole vocabulary for a text.

    Returns:
        {"copying" | "free": {"plain_tokens_s", "drafted_tokens_s", "tokens_a_pass", "same"}}: the
        medians after the first token, and whether both gave the same tokens. Empty for a model
        that checks no drafts, or reads more than text.

    Example:
        >>> from modelzoo.runtime import load
        >>> measure_drafts(load("gpt.bundle").engine, None, 4)
        {}
    """
    reads_more = any(name.startswith(("encode", "prefill_image")) for name in engine.signatures)
    if reads_more or not any(name.startswith("verify") for name in engine.signatures):
        return {}
    found = {}
    for name, prompt in _prompts(engine.stepper(), tokenizer, new_tokens).items():
        runs = [
            (
                _generate(engine, prompt, new_tokens, False),
                _generate(engine, prompt, new_tokens, True),
            )
            for _ in range(ROUNDS + 1)
        ][1:]
        speeds = [sorted(run[way][0] for run in runs)[ROUNDS // 2] for way in (0, 1)]
        found[name] = {
            "plain_tokens_s": speeds[0],
            "drafted_tokens_s": speeds[1],
            "tokens_a_pass": runs[-1][1][2],
            "same": all(plain[1] == drafted[1] for plain, drafted in runs),
        }
    return found


def _prompts(stepper, tokenizer, new_tokens: int) -> dict[str, list[int]]:
    size = stepper.vocab_size
    ids = [] if tokenizer is None else [id for id in tokenizer.encode(PASSAGE) if id < size]
    ids = ids or [n * 7 % size for n in range(60)]
    room = stepper.max_length - new_tokens
    once = ids[: max(1, min(len(ids), room // (REPEATED + 1)))]
    copying = [*once * REPEATED, *once[: max(1, len(once) // 4)]]
    return {"copying": copying, "free": once[: max(1, len(once) // 4)]}


def _generate(engine, prompt, new_tokens: int, speculate: bool) -> tuple[float, list[int], float]:
    """Tokens a second after the first, the tokens, and how many of them a pass gave."""
    from modelzoo.runtime.generation.loop import generate_tokens
    from modelzoo.runtime.generation.sampling import Sampling

    sampling = Sampling(max_new_tokens=new_tokens, speculate=speculate)
    run = generate_tokens(engine.stepper(), [prompt], sampling)
    next(run)
    begin = time.perf_counter()
    rest = sum(1 for _ in run)
    seconds = time.perf_counter() - begin
    return rest / max(seconds, 1e-9), run.tokens[0], len(run.tokens[0]) / run.passes[0]
