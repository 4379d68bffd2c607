"""Section `drafts`: plain against drafted decoding on nine kinds of prompts."""

from __future__ import annotations

import sys
from itertools import product
from statistics import mean

from benchmarks.common import rounded
from benchmarks.edge.decoders import DECODERS, WINDOW, Decoder, model_of
from benchmarks.edge.peer import Peer, alternate
from benchmarks.edge.prompts import PROMPTS, written

NEW = 96


def drafts(options) -> dict:
    """SmolLM2-135M and Gemma 3 270M with drafts from the text itself, plainly, and llama.cpp.

    Two prompts of each kind, 96 new tokens or up to the token that ends a text, window 1024. Speeds
    are the best of the rounds, after the first token: of one thread tokens for each second of its
    CPU time, which other programs disturb less than the clock on the wall. "same" says that greedy
    and sampled texts (temperature 0.8, top_p 0.95, one seed) are equal with drafts and without, to
    the last token. llama.cpp reads Q8_0 against int8 and Q4_1 against int4; its lookup is
    llama-cpp-python's `generate` with a `LlamaPromptLookupDecoding` of three tokens.
    """
    if options.llama_python == "none":
        print("drafts: without llama.cpp, as --llama-python says", file=sys.stderr)
    modes = [mode for mode in options.modes if "+" not in mode]
    runs = []
    for name, mode, threads in product(options.models, modes, options.threads):
        decoder = DECODERS[name]
        model_of(options, decoder)
        bundle = options.bundle(options.work / decoder.folder, mode, WINDOW)
        job = {"prompts": _prompts(options.kinds, decoder), "new": NEW, "window": WINDOW}
        job["threads"] = threads
        peers = [Peer("modelzoo", "drafts", {**job, "bundle": str(bundle)})]
        if options.llama_python != "none":
            theirs = {**job, "model": str(decoder.theirs(options, mode))}
            peers.append(Peer("llama.cpp", "llama_drafts", theirs, options.llama_python))
        found = alternate(peers, options.rounds)
        about = {"model": decoder.name, "weights": mode, "threads": threads}
        runs.append({**about, "kinds": options.kinds, "peers": found})
    return {"runs": runs}


def _prompts(kinds: list[str], decoder: Decoder) -> dict[str, str]:
    return {
        f"{kind} {number}": written(text, decoder.marks)
        for kind in kinds
        for number, text in enumerate(PROMPTS[kind])
    }


def tables(result: dict) -> dict[str, list[dict]]:
    """A table for each model and mode: a row of each kind of prompt, and the mean of the kinds."""
    found: dict[str, list[dict]] = {}
    for one in result["runs"]:
        kinds = [_row(kind, one["peers"]) for kind in one["kinds"]]
        numbers = [key for key, value in kinds[0].items() if isinstance(value, float)]
        total = {key: mean(row[key] for row in kinds) for key in numbers}
        same = "yes" if all(row["same"] == "yes" for row in kinds) else "no"
        rows = [*kinds, {"": "mean", **total, "same": same}]
        title = f"plain and drafted decoding, {one['model']} in {one['weights']}"
        found.setdefault(title, []).extend(
            {k: rounded(v) if isinstance(v, float) else v for k, v in row.items()}
            | {"threads": one["threads"]}
            for row in rows
        )
    return found


def _row(kind: str, peers: dict) -> dict:
    """Means over the prompts of a kind; ratios are of these."""
    ours = peers["modelzoo"]
    names = [f"{kind} {n}" for n in range(len(PROMPTS[kind]))]

    def best(peer: dict, what: str) -> float:
        return mean(peer[f"{name} {what}"]["best"] for name in names)

    plain, drafted = best(ours, "plain_tokens_s"), best(ours, "drafted_tokens_s")
    row = {
        "": kind,
        "plain tokens/s": plain,
        "drafted tokens/s": drafted,
        "times as fast": drafted / plain,
        "tokens a pass": mean(ours[f"{name} tokens_a_pass"]["median"] for name in names),
        "same": "yes" if all(ours[f"{name} same"] == "yes" for name in names) else "no",
    }
    if "llama.cpp" in peers:
        theirs = {way: best(peers["llama.cpp"], f"{way}_tokens_s") for way in ("plain", "lookup")}
        row |= {f"llama.cpp {way}": speed for way, speed in theirs.items()}
        row["over the better"] = drafted / max(theirs.values())
    return row
