"""The keys of other people's files: which are read and as what, which mean nothing here.

Every key of a `config.json` is one of these, or the checkpoint is rejected by the key's name:

    read          by a `Value`, or by a table's `read`; of the type and range of its `Kind`
    assumed       `Table.assumed`: has this value, or is left out
    neutral       `NEUTRAL` and `Table.neutral`: changes nothing at this value
    unused        `UNUSED` and `Table.unused`: means nothing for what a model answers
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import WeightsError, shown

__all__ = [
    "Asked",
    "Kind",
    "check_config",
    "check_kind",
    "check_settings",
    "is_neutral",
    "is_unused",
    "kind_of_ours",
    "not_read",
]


# === Types and ranges ===


@dataclass(frozen=True)
class Kind:
    """What a key may hold.

    Attributes:
        what: in words, for a message.
        holds: whether a value is of this kind.
        null: whether null is one of its values.
    """

    what: str
    holds: Callable[[Any], bool]
    null: bool = False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _is_side(value: object) -> bool:
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    return all(type(side) is int and side >= 1 for side in sides)


def _is_token(value: object) -> bool:
    return isinstance(value.get("content") if isinstance(value, Mapping) else value, str)


_COUNT = Kind("a whole number, 1 or more", lambda v: type(v) is int and v >= 1)
_COUNT_OR_NONE = Kind("a whole number, 1 or more, or null", _COUNT.holds, null=True)
_FROM_ZERO = Kind("a whole number, 0 or more", lambda v: type(v) is int and v >= 0)
_SIDE = Kind("a whole number, 1 or more, or a list of two", _is_side)
_POSITIVE = Kind("a number above 0", lambda v: _is_number(v) and v > 0)
_POSITIVE_OR_NONE = Kind("a number above 0, or null", _POSITIVE.holds, null=True)
_SHARE = Kind("a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1)
_NOT_NEGATIVE = Kind("a number, 0 or more", lambda v: _is_number(v) and v >= 0)
_NOT_NEGATIVE_OR_NONE = Kind("a number, 0 or more, or null", _NOT_NEGATIVE.holds, null=True)
_FLAG = Kind("true or false", lambda v: type(v) is bool)
_FLAG_OR_NONE = Kind("true, false or null", _FLAG.holds, null=True)
_NAMES = Kind(
    "a list of names, or null",
    lambda v: isinstance(v, list) and all(isinstance(name, str) for name in v),
    null=True,
)
_FACTORS = Kind(
    "a list of numbers above 0", lambda v: isinstance(v, list) and all(map(_POSITIVE.holds, v))
)
_SWITCHES = Kind(
    "a list of 0 and 1, or null",
    lambda v: isinstance(v, list) and all(one in (0, 1) for one in v),
    null=True,
)
_COUNTS = Kind(
    "a list of whole numbers, 1 or more",
    lambda v: isinstance(v, list | tuple) and bool(v) and all(map(_COUNT.holds, v)),
)
_LAYERS = Kind(
    "a list of whole numbers, 0 or more, or null",
    lambda v: isinstance(v, list) and all(map(_FROM_ZERO.holds, v)),
    null=True,
)
_TABLE = Kind("a table, or null", lambda v: isinstance(v, Mapping), null=True)

# By the last part of our key.
_OURS = {
    "vocab_size": _COUNT,
    "hidden_dim": _COUNT,
    "num_layers": _COUNT,
    "num_heads": _COUNT,
    "ffn_dim": _COUNT,
    "max_length": _COUNT,
    "head_dim": _COUNT,
    "embed_dim": _COUNT,
    "embedding_dim": _COUNT,
    "num_columns": _COUNT,
    "num_mels": _COUNT,
    "time_stride": _COUNT,
    "frequency_stride": _COUNT,
    "relative_buckets": _COUNT,
    "relative_max_distance": _COUNT,
    "pixel_shuffle": _COUNT,
    "num_segments": _FROM_ZERO,
    "position_kernel": _COUNT,
    "position_groups": _COUNT,
    "projection_dim": _COUNT,
    "conv_bias": _FLAG,
    "weighted_layers": _FLAG,
    "image_token": _FROM_ZERO,
    "image_size": _SIDE,
    "patch_size": _SIDE,
    "norm_epsilon": _POSITIVE,
    "layer_scale": _POSITIVE,
    "initializer_range": _NOT_NEGATIVE,
    "dropout": _SHARE,
    "attention_dropout": _SHARE,
    "tie_embeddings": _FLAG,
    "scale_embedding": _FLAG,
    "attention_bias": _FLAG,
    "attention_output_bias": _FLAG,
    "ffn_bias": _FLAG,
    "norm_bias": _FLAG,
    "norm_scale": _FLAG,
    "qk_norm": _FLAG,
    "parallel_residual": _FLAG,
    "shared_norm": _FLAG,
    "embedding_scale": _POSITIVE,
    "residual_scale": _POSITIVE,
    "logit_scale": _POSITIVE,
    "attention_scale": _POSITIVE,
    "count": _COUNT,
    "top_k": _COUNT,
    "normalize": _FLAG,
    "shared_dim": _COUNT,
    "jitter": _SHARE,
    "balance_loss": _NOT_NEGATIVE,
    "sliding_window": _COUNT_OR_NONE,
    "logit_softcap": _POSITIVE_OR_NONE,
    "attention_softcap": _POSITIVE_OR_NONE,
}
# By their key: what the functions `read` of the tables ask for.
_THEIRS = {
    "num_key_value_heads": _COUNT_OR_NONE,
    "encoder_num_key_value_heads": _COUNT_OR_NONE,
    "decoder_num_key_value_heads": _COUNT_OR_NONE,
    "embedding_size": _COUNT,
    "encoder_num_attention_heads": _COUNT,
    "decoder_num_attention_heads": _COUNT,
    "decoder_num_hidden_layers": _COUNT,
    "head_dim": _COUNT_OR_NONE,
    "n_inner": _COUNT_OR_NONE,
    "num_decoder_layers": _COUNT_OR_NONE,
    "decoder_layers": _COUNT_OR_NONE,
    "max_source_positions": _COUNT,
    "global_attn_every_n_layers": _COUNT,
    "sliding_window_pattern": _COUNT,
    "_sliding_window_pattern": _COUNT,
    "original_max_position_embeddings": _COUNT_OR_NONE,
    "conv_dim": _COUNTS,
    "conv_kernel": _COUNTS,
    "conv_stride": _COUNTS,
    "do_stable_layer_norm": _FLAG,
    "query_pre_attn_scalar": _POSITIVE,
    "logits_scaling": _POSITIVE,
    "rotary_pct": _POSITIVE_OR_NONE,
    "rotary_emb_base": _POSITIVE_OR_NONE,
    "rotary_dim": _COUNT,
    "word_embed_proj_dim": _COUNT_OR_NONE,
    "num_kv_heads": _COUNT_OR_NONE,
    "num_ln_in_parallel_attn": _COUNT_OR_NONE,
    "ffn_hidden_size": _COUNT_OR_NONE,
    "sliding_window": _COUNT_OR_NONE,
    "multi_query": _FLAG_OR_NONE,
    "parallel_attn": _FLAG_OR_NONE,
    "new_decoder_architecture": _FLAG_OR_NONE,
    "do_layer_norm_before": _FLAG,
    "_remove_final_layer_norm": _FLAG,
    "use_parallel_residual": _FLAG,
    "use_qk_norm": _FLAG_OR_NONE,
    "qk_layernorm": _FLAG,
    "mlp_ratio": _POSITIVE,
    "hidden_size": _COUNT,
    "use_swiglu_ffn": _FLAG,
    "layer_scale_init_value": _NOT_NEGATIVE,
    "use_mean_pooling": _FLAG,
    "use_absolute_position_embeddings": _FLAG,
    "use_relative_position_bias": _FLAG,
    "use_shared_relative_position_bias": _FLAG,
    "rope_theta": _POSITIVE_OR_NONE,
    "rope_local_base_freq": _POSITIVE_OR_NONE,
    "global_rope_theta": _POSITIVE_OR_NONE,
    "local_rope_theta": _POSITIVE_OR_NONE,
    "partial_rotary_factor": _POSITIVE_OR_NONE,
    "factor": _POSITIVE_OR_NONE,
    "low_freq_factor": _POSITIVE,
    "high_freq_factor": _POSITIVE,
    "attention_factor": _POSITIVE_OR_NONE,
    "beta_fast": _NOT_NEGATIVE_OR_NONE,
    "beta_slow": _NOT_NEGATIVE_OR_NONE,
    "mscale": _NOT_NEGATIVE_OR_NONE,
    "mscale_all_dim": _NOT_NEGATIVE_OR_NONE,
    "truncate": _FLAG,
    "short_factor": _FACTORS,
    "long_factor": _FACTORS,
    "no_rope_layers": _SWITCHES,
    "decoder_sparse_step": _COUNT,
    "mlp_only_layers": _LAYERS,
    "no_rope_layer_interval": _COUNT,
    "max_window_layers": _FROM_ZERO,
    "use_sliding_window": _FLAG_OR_NONE,
    "tie_word_embeddings": _FLAG,
    "scale_decoder_outputs": _FLAG,
    "use_bidirectional_attention": _FLAG_OR_NONE,
    "layer_types": _NAMES,
    "rope_parameters": _TABLE,
    "rope_scaling": _TABLE,
    "text_config": _TABLE,
    "vision_config": _TABLE,
}


def kind_of_ours(key: str) -> Kind | None:
    """The kind of a key of our `[model]` table; `None` for a plugin's own."""
    return _OURS.get(key.rpartition(".")[2])


def check_kind(key: str, value: object, kind: Kind | None, where: str) -> None:
    """
    Raises:
        WeightsError: the value is not of the kind.

    Example:
        >>> check_kind("hidden_size", 0, kind_of_ours("hidden_dim"), "config.json")
        Traceback (most recent call last):
        modelzoo.errors.WeightsError: hidden_size must be a whole number, 1 or more, not 0
          in: config.json
    """
    if kind is None or (value is None and kind.null) or kind.holds(value):
        return
    raise WeightsError(f"{key} must be {kind.what}, not {shown(value)}", where=where)


# What is looked at of config.json before a table is chosen, and by those that are not tables.
_TOKENS = Kind(
    "the id of a token, a list of ids, or null",
    lambda v: all(type(id) is int for id in (v if isinstance(v, list) else [v])),
    null=True,
)
_TEXT = Kind("a text, or null", lambda v: isinstance(v, str), null=True)
_FILE = {
    "model_type": _TEXT,
    "tokenizer_class": _TEXT,
    "problem_type": _TEXT,
    "architectures": _NAMES,
    "text_config": _TABLE,
    "vision_config": _TABLE,
    **dict.fromkeys(("eos_token_id", "pad_token_id", "decoder_start_token_id"), _TOKENS),
}


_TOKEN = Kind("a token, a table with its content, or null", _is_token, null=True)
_MORE_TOKENS = Kind(
    "a list or a table of tokens, or null",
    lambda v: (
        isinstance(v, list | Mapping)
        and all(map(_is_token, v.values() if isinstance(v, Mapping) else v))
    ),
    null=True,
)
_SETTINGS = {
    **{f"{role}_token": _TOKEN for role in ("pad", "bos", "eos", "unk", "cls", "sep", "mask")},
    **dict.fromkeys(("additional_special_tokens", "extra_special_tokens"), _MORE_TOKENS),
    "added_tokens_decoder": _TABLE,
    "tokenizer_class": _TEXT,
    "chat_template": Kind(
        "a text, a list of tables, or null",
        lambda v: (
            isinstance(v, str)
            or (isinstance(v, list) and all(isinstance(one, Mapping) for one in v))
        ),
        null=True,
    ),
}


def check_config(config: Mapping, where: object) -> None:
    """
    Raises:
        WeightsError: a key of a `config.json` that is looked at whatever the model, and whose value
            is of another type.
    """
    for key, kind in _FILE.items():
        check_kind(key, config.get(key), kind, str(where))


def check_settings(settings: Mapping, where: object) -> None:
    """The same of a `tokenizer_config.json`, or a `special_tokens_map.json`."""
    for key, kind in _SETTINGS.items():
        check_kind(key, settings.get(key), kind, str(where))


class Asked(Mapping):
    """A configuration that checks what is taken out of it, and remembers its key.

    Args:
        config: as parsed.
        where: the file, for messages.
        prefix: of the keys, in messages and in `keys`: `"text_config."`.

    Attributes:
        keys_asked: dotted keys that were looked at; tables within share the set.

    Example:
        >>> config = Asked({"head_dim": 64, "text_config": {"n_inner": 3}}, "config.json")
        >>> config.get("head_dim"), config["text_config"].get("n_inner")
        (64, 3)
        >>> sorted(config.keys_asked)
        ['head_dim', 'text_config', 'text_config.n_inner']
    """

    def __init__(self, config: Mapping, where: str, prefix: str = "", keys: set | None = None):
        self._config, self._where, self._prefix = config, where, prefix
        self.keys_asked: set[str] = set() if keys is None else keys

    def __getitem__(self, key: str) -> Any:
        name = self._prefix + key
        self.keys_asked.add(name)
        if key not in self._config:
            raise KeyError(key)
        value = self._config[key]
        check_kind(name, value, _THEIRS.get(key), self._where)
        if isinstance(value, Mapping):
            return Asked(value, self._where, f"{name}.", self.keys_asked)
        return value

    def __iter__(self) -> Iterator:
        return iter(self._config)

    def __len__(self) -> int:
        return len(self._config)


# === What changes nothing ===

# In every model type: what says who made it and how it is run or trained; what other files, the
# tokenizer or the task read. What begins with _ is private to the library that wrote it.
UNUSED = re.compile(
    r"""
    _.* | name_or_path | model_type | architectures | auto_map | transformers_version | license
    | transformers\.js_config | torch_dtype | dtype | unsloth_.* | model_name | tokenizer_class
    | torchscript | use_bfloat16 | use_cache | output_(attentions|hidden_states|past|scores)
    | return_dict | return_dict_in_generate | chunk_size_feed_forward | attn_implementation.*
    | gradient_checkpointing | pretraining_tp | use_flash_attention.* | task_specific_params
    | .*dropout(_prob|_rate)? | .*pdrop | .*layerdrop | .*initializer.* | init_std | .*_init_value
    | id2label | label2id | num_labels | problem_type | finetuning_task | prefix
    | sentence_transformers | sbert_ce_default_activation_function | is_encoder_decoder
    | .*_token_id | .*_token_index
    # How a text is generated: `weights.generation` and the tasks read it.
    | do_sample | temperature | top_[kp] | typical_p | repetition_penalty | length_penalty
    | diversity_penalty | early_stopping | num_beams | num_beam_groups | num_return_sequences
    | (encoder_)?no_repeat_ngram_size | (min|max)_length | remove_invalid_values | bad_words_ids
    | exponential_decay_length_penalty | (begin_)?suppress_tokens | is_multilingual
    """,
    re.VERBOSE,
)
# In every model type: at these values they change nothing.
NEUTRAL: dict[str, Any] = {
    "embedding_multiplier": 1.0,
    "residual_multiplier": 1.0,
    "logits_scaling": 1.0,
    "logit_scale": 1.0,
    "partial_rotary_factor": 1.0,
    "rotary_pct": 1.0,
    "is_causal": True,
    "tie_encoder_decoder": False,
    "pruned_heads": {},
    "num_channels": 3,
}


def is_unused(key: str, unused: tuple[str, ...] = ()) -> bool:
    """Whether a key, dotted or not, means nothing in any model, or is one of `unused`."""
    last = key.rpartition(".")[2]
    return UNUSED.fullmatch(last) is not None or key in unused or last in unused


def is_neutral(key: str, value: object, neutral: Mapping[str, Any]) -> bool:
    """Whether a key that nothing reads has the value at which it changes nothing.

    Null, false and what is empty switch nothing on, in a key that is not known too.
    """
    known = {**NEUTRAL, **neutral}
    for name in (key, key.rpartition(".")[2]):
        if name in known:
            return value is None or known[name] == value
    return value is None or value is False or (isinstance(value, list | dict | str) and not value)


def not_read(
    config: Mapping,
    used: set[str],
    neutral: Mapping[str, Any],
    unused: tuple[str, ...],
    prefix: str = "",
) -> list[str]:
    """`key = value` of each key that is not read, not unused, and not at its neutral value.

    Args:
        used: dotted keys that are read; a table that one of them leads into is looked through.
    """
    found = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        inside = isinstance(value, Mapping) and any(one.startswith(f"{name}.") for one in used)
        if inside:
            found += not_read(value, used, neutral, unused, f"{name}.")
        elif name in used or is_unused(name, unused) or is_neutral(name, value, neutral):
            continue
        else:
            found.append(f"{name} = {shown(value, 40)}")
    return found
