"""Sections `smollm2`, `gemma3`, `gpt2`: decoders compared with llama.cpp and the memory's limit."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import io
import json
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.common import modelzoo, rounded
from benchmarks.edge.gguf_files import gemma3_file, gguf_shapes, minimum, write_quantized
from benchmarks.edge.peer import Peer, alternate

WINDOW, PROMPT, NEW = 1024, 128, 128
LONG = WINDOW - NEW  # tokens of the prompt that fills the window
PAGES = ("huge", "small")  # that numpy reads
# our weights -> the file of llama.cpp with as many bits; its cache has 16
MATCHED = {"int8": "Q8_0", "int4": "Q4_1"}


@dataclass(frozen=True)
class Decoder:
    """A decoder that modelzoo and llama.cpp read from one GGUF file.

    Attributes:
        name: in the tables.
        folder: of its models and bundles.
        marks: what opens and what ends a user's turn in its prompts.
    """

    name: str
    folder: str
    marks: tuple[str, str]

    def gguf(self, options) -> Path:
        """Its file: the option's, or of the packages that carry it."""
        given = options.gguf if self.folder == "smollm2" else options.gemma
        return Path(given) if given else gemma3_file(options.work / self.folder)

    def theirs(self, options, mode: str) -> Path:
        """The file for llama.cpp with as many bits as the mode, written when first asked for."""
        bits, source = MATCHED[weights_of(mode)], self.gguf(options)
        path = options.work / self.folder / f"{bits}.gguf"
        if bits in source.name:
            return source
        if not path.exists():
            write_quantized(source, path, bits)
        return path


DECODERS = {
    "smollm2": Decoder(
        "SmolLM2-135M",
        "smollm2",
        (
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\n",
            "<|im_end|>\n<|im_start|>assistant\n",
        ),
    ),
    "gemma3": Decoder(
        "Gemma 3 270M",
        "gemma3",
        ("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"),
    ),
}


def weights_of(mode: str) -> str:
    """
    >>> weights_of("int4+int8")
    'int4'
    """
    return mode.partition("+")[0]


def smollm2(options) -> dict:
    """SmolLM2-135M compared with llama.cpp, the same weights.

    Both read one GGUF file. 128 new tokens follow a prompt of 128 (256 slots) and one of 896 (1,024
    slots). llama.cpp's Q8_0 is compared with int8 and its Q4_1 with int4; after a plus stands the
    cache of modelzoo, llama.cpp's has 16 bits. The share of the limit is decode speed over what
    memory allows: the GB/s that numpy reads from huge pages or from small ones, over the bytes of
    the weights and of the cache's live slots. Loading is from packed weights that are kept, and
    the first time without them.
    """
    return against_llama(options, DECODERS["smollm2"])


def gemma3(options) -> dict:
    """Gemma 3 270M compared with llama.cpp, the same weights.

    Of its weights 63 % are a table of 262,144 tokens, which int8 and int4 keep in 8 bits. Both
    sides begin with the weights of a Q4_K_M file. Prompt, window and limit are those of SmolLM2.
    """
    return against_llama(options, DECODERS["gemma3"])


def against_llama(options, decoder: Decoder) -> dict:
    """One decoder in all modes, and llama.cpp's formats of as many bits."""
    work = options.work / decoder.folder
    model = model_of(options, decoder)
    bundles = {mode: options.bundle(work, mode, WINDOW) for mode in options.modes}
    theirs = {}
    if options.llama_python != "none":
        theirs = {MATCHED[weights_of(mode)]: decoder.theirs(options, mode) for mode in bundles}
    prompt = zen_ids(model / "tokenizer.json")
    shapes = gguf_shapes(decoder.gguf(options))
    weights = {mode: minimum(shapes, weights_of(mode)) for mode in bundles}
    return decode(options, bundles, weights, theirs, prompt)


def gpt2(options) -> dict:
    """GPT-2 small, as fast as memory allows?

    Random weights; prompt, window and limit are those of SmolLM2.
    """
    work = options.work / "gpt2"
    if not (work / "model").exists():
        modelzoo("build", "gpt-small", "-o", work / "model")
    modes = [mode for mode in options.modes if weights_of(mode) != "int4"]
    bundles = {mode: options.bundle(work, mode, WINDOW) for mode in modes}
    weights = {mode: weight_bytes(bundle) for mode, bundle in bundles.items()}
    return decode(options, bundles, weights, {}, list(range(1000, 1000 + PROMPT)))


def decode(options, bundles: dict, weights: dict, theirs: dict, prompt: list[int]) -> dict:
    """Every peer in turn.

    Args:
        bundles: mode -> bundle, and `weights` mode -> the bytes that a token needs at least.
        theirs: llama.cpp's name of a format -> file.
        prompt: the longer one repeats it.

    Returns:
        {"files": [{"", "bundle MB", "first load s"}], "runs": [{"threads", "slots", "peers",
        "ratios", "reads"}]}: ratios are ours over llama.cpp's at matched bits (resident memory
        too), `reads` what memory gives in GB/s for each size, from huge pages and from small ones.
    """
    packed, runs = options.work / "packed", []
    files = [
        {"": mode, "bundle MB": size(bundle) / 1e6, "first load s": first_load(bundle, packed)}
        for mode, bundle in bundles.items()
    ]
    for threads, length in product(options.threads, (PROMPT, LONG)):
        longer = (prompt * (length // len(prompt) + 1))[:length]
        job = {"prompt": longer, "new": NEW, "window": WINDOW, "threads": threads}
        peers, loads = [], {}
        for mode, bundle in bundles.items():
            loads[mode] = weights[mode] + live_bytes(bundle, length)
            ours = {**job, "weight_cache": str(packed / bundle.name), "bundle": str(bundle)}
            peers.append(Peer(f"modelzoo {mode}", "decoder", ours))
            name = f"llama.cpp {MATCHED[weights_of(mode)]}"
            if theirs and name not in [peer.name for peer in peers]:
                model = {**job, "model": str(theirs[MATCHED[weights_of(mode)]])}
                peers.append(Peer(name, "llama", model, options.llama_python))
            # As large as what this bundle reads for a token.
            read = {"bytes": int(loads[mode]), "threads": threads}
            for pages in PAGES:
                huge = {**read, "huge": pages == "huge"}
                peers.append(Peer(f"read {mode} {pages}", "bandwidth", huge))
        results = alternate(peers, options.rounds)
        reads = {
            mode: {pages: results.pop(f"read {mode} {pages}")["read_GB_s"] for pages in PAGES}
            for mode in bundles
        }
        for mode, pages in product(bundles, PAGES):
            ours = results[f"modelzoo {mode}"]
            limit = reads[mode][pages]["median"] * 1e9 / loads[mode]
            ours[f"share {pages}"] = ours["decode_tokens_s"]["median"] / limit
        ratios = {
            mode: ratio(results[f"modelzoo {mode}"], results[name])
            for mode in bundles
            if (name := f"llama.cpp {MATCHED[weights_of(mode)]}") in results
        }
        about = {"threads": threads, "slots": length + NEW}
        runs.append({**about, "peers": results, "ratios": ratios, "reads": reads})
    return {"files": files, "runs": runs}


def ratio(ours: dict, theirs: dict) -> dict[str, float]:
    found = {"resident MB": ours["rss_MB"] / theirs["rss_MB"]}
    for name in ("prefill", "decode"):
        key = f"{name}_tokens_s"
        for statistic in ("median", "best"):
            found[f"{name} {statistic}"] = ours[key][statistic] / theirs[key][statistic]
    return found


def size(bundle: Path) -> int:
    return sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())


def first_load(bundle: Path, packed: Path) -> float:
    """Seconds until a bundle is open whose weights nothing has packed; later loads find them."""
    shutil.rmtree(packed / bundle.name, ignore_errors=True)
    job = {"bundle": str(bundle), "threads": 1, "weight_cache": str(packed / bundle.name)}
    peer = Peer(f"first load of {bundle.name}", "decoder", {**job, "prompt": [1]})
    peer.close()
    return peer.ready["load_s"]


def model_of(options, decoder: Decoder) -> Path:
    """Its model directory, built when it is first asked for."""
    path = options.work / decoder.folder / "model"
    if not path.exists():
        modelzoo("build", decoder.gguf(options), "-o", path)
    return path


def zen_ids(tokenizer: Path) -> list[int]:
    """The Zen of Python, which every Python carries, as far as 128 tokens go."""
    from modelzoo.runtime.generation.loop import encode_prompt
    from modelzoo.runtime.text.tokenizer import Tokenizer

    with contextlib.redirect_stdout(io.StringIO()):  # it prints itself
        zen = codecs.decode(importlib.import_module("this").s, "rot13")
    return encode_prompt(Tokenizer.load(tokenizer), zen)[:PROMPT]


def weight_bytes(bundle: Path) -> int:
    """What the weights need, or take where that is less. A tied table is read as the last matrix.

    A file that holds more than it needs does not come nearer to the limit by it.
    """
    parity = json.loads((bundle / "parity.json").read_text())
    return min(parity["weight_bytes"], parity["expected_weight_bytes"])


def live_bytes(bundle: Path, prompt: int) -> float:
    """Of the cache, what a token in the middle of the run has to read: the slots before it."""
    import numpy as np

    inputs = json.loads((bundle / "manifest.json").read_text())["signatures"]["decode"]["inputs"]
    state = sum(
        np.prod(tensor["shape"]) * np.dtype(tensor["dtype"]).itemsize
        for name, tensor in inputs.items()
        if name.startswith("kv_cache")
    )
    return float(state * (prompt + NEW / 2) / WINDOW)


def tables(result: dict) -> dict[str, list[dict]]:
    """Rows of what `decode` found."""
    speed, ratios, reads = [], [], []
    for one in result["runs"]:
        about = {"threads": one["threads"], "slots": one["slots"]}
        for peer, found in one["peers"].items():
            row = {
                "": peer,
                **about,
                "prefill tokens/s": found["prefill_tokens_s"]["median"],
                "decode tokens/s": found["decode_tokens_s"]["median"],
                "decode best": found["decode_tokens_s"]["best"],
                "first token ms": found["first_token_ms"]["median"],
                "resident MB": found["rss_MB"],
                "of it files": found["file_MB"],
                "load s": found["load_s"],
            }
            for pages in PAGES:
                if f"share {pages}" in found:
                    row[f"share, {pages} pages"] = found[f"share {pages}"]
            speed.append(row)
        for mode, found in one["ratios"].items():
            pair = f"{mode} / {MATCHED[weights_of(mode)]}"
            ratios.append({"": pair, **about, **found})
        for mode, read in one["reads"].items():
            pages = {f"GB/s, {pages} pages": read[pages]["median"] for pages in PAGES}
            reads.append({"bytes of": mode, **about, **pages})
    found = {
        "speed": speed,
        "files": result["files"],
        "modelzoo over llama.cpp": ratios,
        "memory as numpy reads it": reads,
    }
    return {
        title: [
            {k: rounded(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows
        ]
        for title, rows in found.items()
        if rows
    }
