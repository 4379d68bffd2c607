"""The keys of a GGUF file under `general.` and `tokenizer.`: which are used, which mean nothing.

Those under the architecture's own name are `config`'s to check. A key under any other name is a
note of the program that wrote the file, and no part of the format.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelzoo.errors import WeightsError, shown
from modelzoo.weights.keys import is_neutral

__all__ = ["check_keys", "generation_of"]

# Read by `file`, `config`, `tokenizer` and the card, or repeated from what they read; of how the
# file was made and by whom; of filling in the middle of a text, which nothing here does.
_KNOWN = re.compile(
    r"""
    general\.(architecture | alignment | quantization_version | file_type | name | author | version
        | organization | finetune | basename | description | quantized_by | size_label
        | license(\..*)? | url | doi | uuid | repo_url | source\..* | base_model\..* | dataset\..*
        | tags | languages | sampling\..*)
    | tokenizer\.ggml\.(model | pre | tokens | token_type | token_type_count | scores | merges
        | (bos|eos|eot|eom|unknown|seperator|padding|mask)_token_id | add_(bos|eos)_token
        | add_space_prefix | fim_.*_token_id | (prefix|suffix|middle)_token_id)
    | tokenizer\.chat_template(s|\..*)? | tokenizer\.huggingface\.json
    # Of SentencePiece's unigrams alone, and those are not read from GGUF.
    | tokenizer\.ggml\.(remove_extra_whitespaces | precompiled_charsmap)
    """,
    re.VERBOSE,
)
_NEUTRAL = {"general.type": "model"}
# llama.cpp's names of what generation_config.json says of drawing tokens.
_SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
# The order of its samplers, and numbers of what other keys switch on.
_OF_OTHERS = {"sequence", "xtc_threshold", "penalty_last_n", "mirostat_tau", "mirostat_eta"}
_OFF = {"xtc_probability": 0.0, "mirostat": 0}


def check_keys(metadata: Mapping[str, Any], where: str) -> None:
    """
    Raises:
        WeightsError: a key under `general.` or `tokenizer.` that is not known, and not at a value
            at which it changes nothing.
    """
    rest = [
        f"{key} = {shown(value, 40)}"
        for key, value in metadata.items()
        if key.startswith(("general.", "tokenizer."))
        and not _KNOWN.fullmatch(key)
        and not is_neutral(key, value, _NEUTRAL)
    ]
    if rest:
        raise WeightsError(
            f"{', '.join(rest)} is not supported: it would be passed over",
            where=where,
            next_step="take the model in Hugging Face's layout, or another one",
        )


def generation_of(metadata: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A `generation_config.json` of the keys `general.sampling.*`; `{}` without one.

    Raises:
        WeightsError: a key that is not known, or that asks for a sampler that is not there.

    Example:
        >>> generation_of({"general.sampling.temp": 0.6, "general.sampling.top_k": 20}, "m.gguf")
        {'do_sample': True, 'temperature': 0.6, 'top_k': 20}
    """
    found: dict[str, Any] = {}
    for key, value in metadata.items():
        name = key.removeprefix("general.sampling.")
        if name == key or name in _OF_OTHERS or (name in _OFF and value == _OFF[name]):
            continue
        if name not in _SAMPLING:
            raise WeightsError(
                f"{key} = {shown(value, 40)} is not supported: it would be passed over",
                where=where,
                next_step="take the model in Hugging Face's layout, or another one",
            )
        found[_SAMPLING[name]] = value
    if not found:
        return {}
    return {"do_sample": found.get("temperature") != 0, **found}
