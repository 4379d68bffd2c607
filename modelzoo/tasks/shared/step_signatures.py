"""The device signatures of whatever generates: `prefill_{T}`, `decode`, `verify_{T}`, `score_{T}`.

A signature's shapes are static, so a key/value cache of S slots costs S slots a token however short
the text is. Hence the same functions over smaller caches as well: `decode_256` is `decode` with 256
slots. A device begins with the smallest caches and moves to larger ones as the text grows. All
signatures share the weights; one more costs the file some kilobytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
from keras import ops

from modelzoo.errors import ExportError, nearest
from modelzoo.layers.cache import cache_names, quantized_cache
from modelzoo.signature import Signature, TensorSpec

SMALLEST_WINDOW = 256

# Prompt tokens a call. A long chunk uses the weights that it reads best; a few tokens go through
# `decode`. With several lengths the runtime takes for each chunk the one that wastes least
# (`runtime.generation.prefill.plan_chunks`), and a conversion takes longer: large windows have one.
PREFILL_LENGTHS = (128,)
PREFILL_LENGTHS_OF_SHORT = (16, 128)
SHORT = 512

# Tokens whose logits one call gives, to check a draft with. LiteRT's int8 kernels work through four
# or five rows while they read a weight once, so four tokens cost about what one does.
VERIFY_LENGTHS = (4,)

# Tokens whose log-probabilities one call gives. The logits of all of them are in memory at once.
SCORE_LENGTHS = (32,)

KV_CACHES = ("float32", "int8")


def step_signatures(
    step: Callable,
    init_cache: Callable[[int, int | None], dict],
    max_length: int | None,
    windows: Sequence[int] | None = None,
    prefill_lengths: Sequence[int] | None = None,
    context: dict[str, TensorSpec] | None = None,
    kv_cache: str = "float32",
    verify_lengths: Sequence[int] | None = None,
    score_lengths: Sequence[int] | None = (),
    fused_attention: bool = False,
) -> dict[str, Signature]:
    """`prefill_{T}`, which computes no logits, `decode` of one token, `verify_{T}` of a draft.

    `verify_{T}` is `decode` of T tokens: it returns T rows of logits. `score_{T}` is the same, and
    returns two numbers a token instead; see `token_log_probs`.

    Args:
        step: `step(token_ids, positions, state, inputs) -> (logits, state)`, all dicts of tensors
            but the first two, (1, T) int32.
        init_cache: of the backbone.
        max_length: slots S of the largest caches; `None` for a state that does not grow.
        windows: slots of smaller caches, for which there are `decode_{n}` and `prefill_{T}_{n}`
            too. Default: 256, 512, 1024 … below S.
        prefill_lengths: tokens T; those beyond a window are cut to it. Default: 128, and for S of
            512 or less 16 as well.
        context: what every step reads besides: an encoder's memory.
        kv_cache: "float32", or "int8" for a quarter of the memory (see `layers.cache`).
        verify_lengths: tokens T of a draft and the token before it; those that a window has no
            room for are left out. Default: 4. A state that does not grow has none: it cannot
            take a rejected token back.
        score_lengths: tokens T whose log-probabilities one call gives; those beyond the largest
            window are cut to it, and smaller windows have those that they have room for. Default:
            none; `None` is 32.
        fused_attention: see `Signature`.

    Raises:
        ExportError: a window or a length that is not positive, or a window beyond S; no such cache;
            `verify_lengths` for a state that does not grow.
    """
    if prefill_lengths is None:
        short = max_length is not None and max_length <= SHORT
        prefill_lengths = PREFILL_LENGTHS_OF_SHORT if short else PREFILL_LENGTHS
    checked = {
        "windows": windows or (),
        "prefill_lengths": prefill_lengths,
        "verify_lengths": verify_lengths or (),
        "score_lengths": score_lengths or (),
    }
    for name, values in checked.items():
        for value in values:
            if value < 1:
                raise ExportError(f"export.{name} must be 1 or more, not {value}")
    if not prefill_lengths:
        raise ExportError(
            "export.prefill_lengths is empty",
            next_step="give one length or more: --set export.prefill_lengths='[64]'",
        )
    if max_length is None and verify_lengths:
        raise ExportError(
            f"export.verify_lengths is {list(verify_lengths)}, and a recurrent state cannot take a "
            "rejected token back",
            next_step="leave export.verify_lengths out",
        )
    if verify_lengths is None:
        verify_lengths = VERIFY_LENGTHS if max_length is not None else ()
    if score_lengths is None:
        score_lengths = SCORE_LENGTHS
    scored = sorted({min(length, max_length or length) for length in score_lengths})
    signatures = {}
    for slots in all_windows(max_length, windows):
        suffix = "" if slots == max_length else f"_{slots}"
        state = state_specs(init_cache(1, slots), kv_cache)
        run = _over(step, tuple(state))
        lengths = sorted({min(length, slots or length) for length in prefill_lengths})
        drafts = sorted({length for length in verify_lengths if 1 < length <= (slots or 0)})
        calls = [
            *((f"prefill_{length}", length, run["prefill"]) for length in lengths),
            ("decode", 1, run["decode"]),
            *((f"verify_{length}", length, run["decode"]) for length in drafts),
            *((f"score_{n}", n, run["score"]) for n in scored if n <= (slots or n)),
        ]
        for name, length, function in calls:
            ids = TensorSpec((1, length), "int32")
            inputs = {"token_ids": ids, "positions": ids, **(context or {}), **state}
            if function is run["score"]:
                inputs = {"target_ids": ids, **inputs}
            signatures[name + suffix] = Signature(function, inputs, fused_attention)
    return signatures


def state_specs(cache: dict, kv_cache: str = "float32") -> dict[str, TensorSpec]:
    """The tensors of a state as inputs; of an empty one, with its key/value cache in int8 if asked.

    >>> state_specs({"h_0": ops.zeros((1, 4))})
    {'h_0': TensorSpec(shape=(1, 4), dtype='float32')}
    """
    if kv_cache not in KV_CACHES:
        raise ExportError(
            f"{kv_cache!r} is not a kind of key/value cache",
            did_you_mean=nearest(kv_cache, KV_CACHES),
            next_step=f"there is {' and '.join(KV_CACHES)}",
        )
    if kv_cache == "int8":
        if cache_names(0)[0] not in cache:
            raise ExportError(
                f"export.kv_cache is int8, and this model's state has no key/value cache: "
                f"{', '.join(list(cache)[:4])}",
                next_step="leave export.kv_cache out",
            )
        cache = quantized_cache(cache)
    return {
        name: TensorSpec(tuple(value.shape), keras.backend.standardize_dtype(value.dtype))
        for name, value in cache.items()
    }


def memory_specs(backbone, length: int) -> dict[str, TensorSpec]:
    """The keys and values of `length` vectors that a `MemoryDecoder`'s steps read, as inputs."""
    heads, width = backbone.config.kv_heads, backbone.config.size_per_head
    memory = {}
    for layer in range(len(backbone.decoder.blocks)):
        memory[f"cross_k_{layer}"] = TensorSpec((1, heads, length, width))
        memory[f"cross_v_{layer}"] = TensorSpec((1, heads, width, length))
    return memory


def all_windows(max_length: int | None, windows: Sequence[int] | None = None) -> list[int | None]:
    """Slots of the caches that there are signatures for, the fewest first.

    >>> all_windows(1024)
    [256, 512, 1024]
    >>> all_windows(None)
    [None]
    """
    if max_length is None:
        return [None]
    if windows is None:
        windows, slots = [], SMALLEST_WINDOW
        while slots < max_length:
            windows.append(slots)
            slots *= 2
    for slots in windows:
        if slots > max_length:
            raise ExportError(
                f"export.windows holds {slots}, and the window has {max_length} slots",
                next_step=f"take {max_length} or less, or raise export.max_length",
            )
    return sorted({*windows, max_length})


def _over(step: Callable, state: tuple[str, ...]) -> dict[str, Callable]:
    """The functions of `prefill`, `decode` and `score`, from a dict of tensors to another."""

    def run(inputs):
        cache = {name: inputs[name] for name in state}
        return step(inputs["token_ids"], inputs["positions"], cache, inputs)

    def decode(inputs):
        logits, cache = run(inputs)
        return {"logits": ops.cast(logits, "float32"), **cache}

    def score(inputs):
        logits, cache = run(inputs)
        log_probs, gap = token_log_probs(logits, inputs["target_ids"])
        return {"log_probs": log_probs, "gap": gap, **cache}

    return {"prefill": lambda inputs: run(inputs)[1], "decode": decode, "score": score}


def token_log_probs(logits, target_ids) -> tuple:
    """What logits (B, T, V) say of target_ids (B, T): two tensors (B, T) float32.

    Returns: the targets' log-probabilities, and by how much the likeliest token's is greater: 0
        where the target is the likeliest. Negative ids are padding, with numbers of no meaning.
    """
    logits = ops.cast(logits, "float32")
    ids = ops.expand_dims(ops.maximum(target_ids, 0), -1)
    chosen = ops.squeeze(ops.take_along_axis(logits, ids, axis=-1), -1)
    best = ops.max(logits, axis=-1)
    total = ops.log(ops.sum(ops.exp(logits - ops.expand_dims(best, -1)), axis=-1))
    gap = best - chosen
    return -gap - total, gap
