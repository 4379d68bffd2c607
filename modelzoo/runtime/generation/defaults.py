"""What a checkpoint's `generation_config.json` asks for, where the caller says nothing.

A recipe keeps it in `[task_options.generation]`, a bundle in its manifest: in the words of that
file, only what is not at its neutral value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelzoo.errors import ModelzooError
from modelzoo.runtime.generation.sampling import Sampling

__all__ = ["TAKEN", "first_tokens", "sampling_with"]

_SAME = ("max_new_tokens", "repetition_penalty")
_DRAWN = ("temperature", "top_k", "top_p")
# The keys that `sampling_with` and `first_tokens` read.
TAKEN = (*_SAME, *_DRAWN, "do_sample", "stop_strings", "forced_bos_token_id")
# What `transformers` draws with where the file says no more than `do_sample`.
_SAMPLED = {"temperature": 1.0, "top_k": 50}


def sampling_with(generation: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Sampling:
    """How to generate: the caller's options over the checkpoint's.

    Args:
        generation: keys of a `generation_config.json`; `temperature`, `top_k` and `top_p` count
            where its `do_sample` is true.
        options: the fields of `Sampling` that the caller gave.

    Raises:
        ModelzooError: a wrong option, or a key of the checkpoint that is not available here.

    Example:
        >>> asked = {"do_sample": True, "top_p": 0.8, "repetition_penalty": 1.1}
        >>> sampling = sampling_with(asked, {})
        >>> sampling.temperature, sampling.top_k, sampling.top_p, sampling.repetition_penalty
        (1.0, 50, 0.8, 1.1)
        >>> sampling_with(asked, {"temperature": 0}).top_p is None
        True
    """
    generation = generation or {}
    missing = [f"{key} = {value!r}" for key, value in generation.items() if key not in TAKEN]
    if missing:
        raise ModelzooError(
            f"the checkpoint's generation_config.json asks for {', '.join(missing)}, which is not "
            "available here: the text would be another",
            next_step="build it with **{'task_options.generation': None} to generate without",
        )
    found = {key: generation[key] for key in _SAME if key in generation}
    if generation.get("stop_strings"):
        found["stop"] = generation["stop_strings"]
    if generation.get("do_sample"):
        drawn = {**_SAMPLED, **{key: generation[key] for key in _DRAWN if key in generation}}
        # Theirs has no "off" but the value that leaves everything in.
        off = {"top_k": 0, "top_p": 1.0}
        found |= {key: value for key, value in drawn.items() if value != off.get(key)}
    if "temperature" in options and not options["temperature"]:  # the likeliest token, then
        found = {key: value for key, value in found.items() if key not in _DRAWN}
    sampling = Sampling.of(**{**found, **options})
    if sampling.temperature == 0 and "seed" in options:
        raise ModelzooError(
            "seed has no effect at temperature 0, which always takes the likeliest token",
            next_step="add temperature=1.0",
        )
    return sampling


def first_tokens(generation: Mapping[str, Any] | None) -> list[int]:
    """The tokens that a target begins with after its start token: `forced_bos_token_id`.

    >>> first_tokens({"forced_bos_token_id": 0}), first_tokens(None)
    ([0], [])
    """
    forced = (generation or {}).get("forced_bos_token_id")
    return [] if forced is None else [forced]
