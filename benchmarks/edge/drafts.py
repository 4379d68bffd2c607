"""Section `drafts`: plain against drafted decoding on nine kinds of prompts."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean

from benchmarks.common import rounded
from benchmarks.edge.decoders import WINDOW, model_of
from benchmarks.edge.gguf_files import write_q8_0
from benchmarks.edge.peer import Peer, alternate
from benchmarks.edge.prompts import PROMPTS

NEW = 96


def drafts(options) -> dict:
    """SmolLM2-135M with drafts from the text itself, plainly, and llama.cpp both ways.

    Two prompts of each kind, 96 new tokens or up to the token that ends a text, window 1024. Speeds
    are the best of the rounds, after the first token: of one thread tokens for each second of its
    CPU time, which other programs disturb less than the clock on the wall. "same" says that greedy
    and sampled texts (temperature 0.8, top_p 0.95, one seed) are equal with drafts and without, to
    the last token. llama.cpp reads Q8_0; its lookup is llama-cpp-python's `generate` with a
    `LlamaPromptLookupDecoding` of three tokens.
    """
    work = options.work / "smollm2"
    model_of(options, work)
    bundle = options.bundle(work, "int8", WINDOW)
    prompts = {f"{kind} {n}": text for kind, two in PROMPTS.items() for n, text in enumerate(two)}
    runs = []
    for threads in options.threads:
        job = {"prompts": prompts, "new": NEW, "window": WINDOW, "threads": threads}
        peers = [Peer("modelzoo", "drafts", {**job, "bundle": str(bundle)})]
        if options.llama_python != "none":
            theirs = {**job, "model": str(_q8_0(options, work))}
            peers.append(Peer("llama.cpp", "llama_drafts", theirs, options.llama_python))
        else:
            print("drafts: without llama.cpp, as --llama-python says", file=sys.stderr)
        runs.append({"threads": threads, "peers": alternate(peers, options.rounds)})
    return {"runs": runs}


def _q8_0(options, work: Path) -> Path:
    path = work / "Q8_0.gguf"
    if not path.exists():
        write_q8_0(options.gguf, path)
    return path


def tables(result: dict) -> dict[str, list[dict]]:
    """A row of each kind of prompt, and the mean of the kinds."""
    rows = []
    for one in result["runs"]:
        kinds = [_row(kind, one["peers"]) for kind in PROMPTS]
        numbers = [key for key, value in kinds[0].items() if isinstance(value, float)]
        total = {key: mean(row[key] for row in kinds) for key in numbers}
        same = "yes" if all(row["same"] == "yes" for row in kinds) else "no"
        rows += [{**row, "threads": one["threads"]} for row in kinds]
        rows.append({"": "mean", **total, "same": same, "threads": one["threads"]})
    return {
        "plain and drafted decoding": [
            {k: rounded(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows
        ]
    }


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
