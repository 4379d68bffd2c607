"""What every source of weights becomes: a configuration, named tensors, and a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file, read when it is asked for.

    Attributes:
        shape: as stored.
        dtype: of what `read` gives, a numpy name: `float32`, `float16` or `bfloat16`.
        read: gives the array; a view of a memory map where the file allows it.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer as checkpoints have it.

    Attributes:
        json: the text of a `tokenizer.json`.
        roles: role -> token, over what the well-known names give: `{"eos": "<|im_end|>"}`.
        stop_tokens: the tokens that end a reply, besides eos.
        chat_template: Jinja source, or `None`.
    """

    json: str
    roles: Mapping[str, str] = field(default_factory=dict)
    stop_tokens: tuple[str, ...] = ()
    chat_template: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """An opened source of weights, in the words of a Hugging Face `config.json`.

    Attributes:
        where: what errors name.
        config: `config.json`, or what a GGUF file's metadata make of it.
        tensors: name -> `Tensor`, under Hugging Face's names and in its orientation.
        tokenizer: or `None`.
        extras: other small JSON files of the directory, by name: `1_Pooling/config.json`.
        path: the file or directory on this disk; `None` for one that lies in memory alone.
        card: what it says about itself: `licence`, `base_model`, `name`, `organization`.
    """

    where: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    tokenizer: TokenizerFiles | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    card: Mapping[str, str] = field(default_factory=dict)
