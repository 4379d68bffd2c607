"""The tokenizer's files of a checkpoint in Hugging Face layout, as the model was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelzoo.runtime.text.framing import Frame, pair_frame, source_frame
from modelzoo.runtime.text.tokenizer import Tokenizer

__all__ = ["tokenizer_config", "tokenizer_json"]

_ROLES = ("pad", "bos", "eos", "unk", "cls", "sep", "mask")


def tokenizer_json(tokenizer: Tokenizer, frame: str, config: Mapping) -> str:
    """The text of a `tokenizer.json` that frames a text as the model was trained.

    Args:
        frame: of the task's `Profile`; a tokenizer with a post-processor keeps its own.
        config: the checkpoint's `config.json`, which says how many segments the model knows.
    """
    text = tokenizer.to_str()
    if tokenizer.frame is not None or not frame:
        return text
    of_roles = source_frame if frame == "source" else pair_frame
    return _framed(text, of_roles(tokenizer.roles), _segments(config))


def tokenizer_config(tokenizer: Tokenizer, max_length: int, config: Mapping) -> dict[str, Any]:
    """What `tokenizer_config.json` says; `null` for a role that no token has."""
    stated = tokenizer.stated_roles
    names = {
        f"{role}_token": None if (id := stated[role]) is None else tokenizer.id_to_token(id)
        for role in _ROLES
        if role in stated
    }
    segments = ["token_type_ids"] if _segments(config) else []
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", *segments, "attention_mask"],
        **names,
    }


def _segments(config: Mapping) -> bool:
    """Whether the model distinguishes the second text of a pair from the first."""
    return config.get("type_vocab_size", 0) > 1


def _framed(text: str, frame: Frame, segments: bool) -> str:
    import tokenizers
    from tokenizers import processors

    backend = tokenizers.Tokenizer.from_str(text)
    # Two texts without a frame of their own: what `tokenizers` makes of them.
    pair = frame.pair or (*frame.single, ("B", 0))
    ids = {id: backend.id_to_token(id) for id, _ in pair if isinstance(id, int)}
    if not ids:
        return text
    single, both = (
        [
            f"{ids[piece] if isinstance(piece, int) else '$' + piece}:{segment * segments}"
            for piece, segment in side
        ]
        for side in (frame.single, pair)
    )
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=both, special_tokens=[(token, id) for id, token in ids.items()]
    )
    return backend.to_str(pretty=True)
