"""`generation_config.json`: what it says of how a text is generated, checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from modelzoo.errors import ModelzooError, WeightsError
from modelzoo.runtime.generation.defaults import TAKEN, sampling_with

__all__ = ["generation_options"]

FILE = "generation_config.json"
# What changes no text here: who wrote it, how it is run; the tokens' ids, which the tokenizer has;
# lengths, which the caller says; what ends a text that is cut.
_UNUSED = re.compile(
    r"""
    _.* | transformers_version | transformers\.js_config | .*_token_id | use_cache | cache_.*
    | output_.* | return_dict_in_generate | return_legacy_cache | num_return_sequences | max_length
    | max_time | low_memory | disable_compile | compile_config | continuous_batching_config
    | assistant_.* | num_assistant_tokens.* | prompt_lookup_.* | max_matching_ngram_size
    | prefill_chunk_size | target_lookbehind | use_mtp | is_assistant | generation_kwargs
    | pretraining_tp | renormalize_logits | remove_invalid_values | chat_format | max_window_size
    # Of speech: numbers of tokens, and the times of words and of timestamps, which are left out.
    | (lang|task)_to_id | alignment_heads | median_filter_width | max_initial_timestamp_index
    | return_token_timestamps
    """,
    re.VERBOSE,
)
# By beams alone, so nothing without them.
_OF_BEAMS = ("length_penalty", "early_stopping", "diversity_penalty", "num_beam_groups")
_NEUTRAL: dict[str, Any] = {
    "do_sample": False,
    "repetition_penalty": 1.0,
    "num_beams": 1,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "min_length": 0,
    "min_new_tokens": 0,
    "min_p": 0.0,
    "top_h": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "penalty_alpha": 0.0,
    "guidance_scale": 1.0,
    "token_healing": False,
    "task": "transcribe",
}
# Of tokens that are drawn, so nothing where the likeliest is taken.
_OF_DRAWING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p")
_OF_DRAWING = (*_OF_DRAWING, "epsilon_cutoff", "eta_cutoff")
# What config.json has in files of before there was a file of its own.
_OLDER = {*TAKEN, *_NEUTRAL, *_OF_BEAMS, "bad_words_ids", "suppress_tokens"}
_OLDER |= {"begin_suppress_tokens", "exponential_decay_length_penalty"}


def generation_options(
    config: Mapping, extras: Mapping[str, Any], of_task: Collection[str] = ()
) -> dict[str, Any]:
    """What `[task_options.generation]` keeps of a checkpoint's files; see `runtime.generation`.

    Args:
        config: `config.json`, which says it where there is no `generation_config.json`.
        extras: as in `Checkpoint.extras`.
        of_task: keys that the task reads itself: which tokens a speech model never writes.

    Raises:
        WeightsError: a value of the wrong type or out of its range.

    Example:
        >>> config = {"temperature": 0.6, "do_sample": True, "eos_token_id": 2, "num_beams": 1}
        >>> generation_options({}, {"generation_config.json": config})
        {'temperature': 0.6, 'do_sample': True}
    """
    content = extras.get(FILE)
    if content is None:
        content, where = {key: config[key] for key in _OLDER if key in config}, "config.json"
    else:
        where = FILE
    if not isinstance(content, Mapping):
        raise WeightsError(f"{FILE} is not a table", where=where)
    skipped = {*of_task, *(() if content.get("do_sample") else _OF_DRAWING)}
    skipped |= set() if content.get("num_beams") not in (None, 1) else set(_OF_BEAMS)
    found = {}
    for key, value in content.items():
        forced = key == "forced_bos_token_id"
        if key in skipped or (_UNUSED.fullmatch(key) and not forced) or value in (None, [], {}):
            continue
        if key in _NEUTRAL and value == _NEUTRAL[key]:
            continue
        if value is False and key not in _NEUTRAL:
            continue
        found[key] = value
    _check(found, where)
    return found


def _check(found: Mapping[str, Any], where: str) -> None:
    if "do_sample" in found and found["do_sample"] is not True:
        raise WeightsError(
            f"do_sample must be true or false, not {found['do_sample']!r}", where=where
        )
    forced = found.get("forced_bos_token_id")
    if forced is not None and (type(forced) is not int or forced < 0):
        raise WeightsError(
            f"forced_bos_token_id must be the id of a token, not {forced!r}", where=where
        )
    try:
        sampling_with({key: value for key, value in found.items() if key in TAKEN}, {})
    except ModelzooError as error:
        raise WeightsError(error.what, where=where) from error
