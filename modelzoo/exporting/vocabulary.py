"""A model with fewer tokens: its vocabulary cut to a corpus before it is exported.

`[export] vocabulary = "corpus.txt"`. The tokenizer loses the pieces that the corpus does not need
(see `smaller_tokenizer`), and each weight that has a row for each token loses the same rows: the
table, the head, their biases. What the model says of the tokens that are left does not change.

V tokens of the whole vocabulary, N of the smaller one.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from modelzoo import registry
from modelzoo.building.vocabulary import default_vocabulary
from modelzoo.data.raw import iterate_texts
from modelzoo.errors import DataError, ExportError
from modelzoo.exporting.quantization.precision import EXACT, MODES
from modelzoo.exporting.smaller_tokenizer import kept_rows, smaller_tokenizer
from modelzoo.exporting.verification.parity import Difference, complaint, difference
from modelzoo.exporting.verification.samples import Samples, info_of, signature_calls
from modelzoo.exporting.verification.verify import refuse, run_in_keras
from modelzoo.layers.dense import blank_weights
from modelzoo.recipe import Recipe
from modelzoo.recipe.composition import parts_of
from modelzoo.runtime.bundle import sha256_file
from modelzoo.runtime.text.chat import encode_chat, template_tokens
from modelzoo.runtime.text.chat_template import ChatTemplate
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.weights.origin import source_table, stamp

__all__ = ["Cut", "compare", "cut_model", "cut_of_bundle", "cut_to_corpus"]

# Keys of recipes and of models' configurations that hold the id of a token.
_IDS = ("image_token", "forced_bos_token_id")
_SYSTEM, *_TURNS = (
    {"role": role, "content": "Hello"} for role in ("system", "user", "assistant", "user")
)


@dataclass(frozen=True)
class Cut:
    """What is left of a vocabulary.

    Attributes:
        tokenizer: of the N tokens.
        rows: the old id of each of the N.
        facts: for the manifest: `tokens`, `of`, `needed`, and the file `corpus` with its `sha256`.
    """

    tokenizer: Tokenizer
    rows: tuple[int, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def cut_to_corpus(model: keras.Model, corpus: str, size: int | None = None) -> Cut:
    """Choose the tokens that a corpus needs, and more up to `size`.

    Args:
        corpus: a file of texts as `modelzoo train` reads it, a `.txt` for example. Each text keeps
            its pieces, and so does each line of one.
        size: N. Default: no more than is needed.

    Raises:
        ExportError: a model without a tokenizer, a directory, or a `size` that does not fit.
        DataError: the corpus cannot be read, or has no text.
    """
    tokenizer: Tokenizer | None = getattr(model, "tokenizer", None)
    if tokenizer is None:
        raise ExportError(
            "export.vocabulary cuts a tokenizer to a corpus, and this model has none",
            next_step="leave export.vocabulary out, or build the model with a tokenizer",
        )
    texts, named = _texts(corpus), {*_ids_in(model.recipe.values)}
    unnamed = [id for id in named if tokenizer.id_to_token(id) is None]
    if unnamed:
        raise ExportError(
            f"the recipe names the token {unnamed[0]}, which the tokenizer has not, so the "
            "vocabulary cannot be cut",
            next_step="leave export.vocabulary out",
        )
    stay = named | {*_chat_tokens(model)}
    found = smaller_tokenizer(tokenizer, texts, size, stay)
    facts = {
        "tokens": len(found.rows),
        "of": model.backbone.vocab_size,
        "needed": found.needed,
        "corpus": Path(corpus).name,
        "sha256": sha256_file(corpus),
    }
    return Cut(found.tokenizer, found.rows, facts)


def cut_of_bundle(model: keras.Model, tokenizer: Tokenizer) -> Cut:
    """The cut that a bundle was made with, from its tokenizer and the whole model.

    Raises:
        ExportError: they do not belong together.
    """
    if model.tokenizer is None:
        raise ExportError("the bundle's vocabulary was cut, and the model has no tokenizer")
    return Cut(tokenizer, kept_rows(model.tokenizer, tokenizer))


def _texts(corpus: str) -> list[str]:
    """Each text of the file, and each line of it, once."""
    if Path(corpus).is_dir():
        raise ExportError(
            "export.vocabulary must be a file of texts, and this is a directory",
            where=corpus,
            next_step="put its texts into one .txt or .jsonl",
        )
    texts: dict[str, None] = {}
    for text in iterate_texts(corpus):
        texts |= dict.fromkeys((text, *text.splitlines()))
    return list(texts)


def _chat_tokens(model) -> Iterator[int]:
    """Ids that the chat template writes around conversations of one to three turns."""
    source = getattr(model, "chat_template", None)
    if source is None:
        return
    template = ChatTemplate(source, template_tokens(model.tokenizer))
    for turns in (_TURNS[:1], _TURNS, [_SYSTEM, *_TURNS[:1]], [_SYSTEM, *_TURNS]):
        try:
            yield from encode_chat(model.tokenizer, template, turns)
        except DataError:
            continue  # a template without a system's turn rejects it, and writes nothing for it


def _ids_in(values: object) -> Iterator[int]:
    for key, value in values.items() if isinstance(values, Mapping) else ():
        if key in _IDS and isinstance(value, int):
            yield value
        else:
            yield from _ids_in(value)


# === The model ===


def cut_model(model: keras.Model, cut: Cut) -> keras.Model:
    """A copy of the model with the rows of the tokens that are left.

    Raises:
        ExportError: no weight of it has a row for each token, as its `vocab_size` says.
    """
    change = _changes(model.backbone.vocab_size, cut.rows)
    with blank_weights():
        small = type(model).from_config(_changed(model.get_config(), change))
    rows, shrunk = np.array(cut.rows, np.int32), 0
    for weight, whole in zip(small.weights, model.weights, strict=True):
        shapes = zip(weight.shape, whole.shape, strict=True)
        axes = [axis for axis, (now, before) in enumerate(shapes) if now != before]
        value = whole
        for axis in axes:
            value = keras.ops.take(value, rows, axis)
        weight.assign(value)
        shrunk += len(axes)
    if not shrunk and len(rows) < model.backbone.vocab_size:
        raise ExportError(
            f"no weight of {model.backbone.name} depends on its vocab_size, so its vocabulary "
            "cannot be cut",
            next_step="leave export.vocabulary out; a backbone of your own takes vocab_size as an "
            "argument, and states it in get_config()",
        )
    small.recipe = _recipe(model, change)
    small.tokenizer = cut.tokenizer
    small.chat_template = getattr(model, "chat_template", None)
    stamp(small, source_table(model))
    return small


def _changes(size: int, rows: tuple[int, ...]) -> Callable[[str, Any], Any]:
    """What a key's value becomes: `vocab_size`, and ids of tokens."""
    number = {row: id for id, row in enumerate(rows)}

    def change(key: str, value: Any) -> Any:
        if key == "vocab_size" and value == size:
            return len(rows)
        return number[value] if key in _IDS and isinstance(value, int) else value

    return change


def _changed(values: Any, change: Callable[[str, Any], Any]) -> Any:
    """A configuration with its single values changed, all the way down."""
    if isinstance(values, Mapping):
        return {key: _changed(change(key, value), change) for key, value in values.items()}
    return [_changed(one, change) for one in values] if isinstance(values, list) else values


def _recipe(model, change: Callable[[str, Any], Any]) -> Recipe:
    """The recipe of the smaller model: it builds a model of that size."""
    values = copy.deepcopy(model.recipe.values)
    for owner in (values, *(table for _, table in parts_of(values))):  # what they left to a default
        default = default_vocabulary(registry.architecture(owner["architecture"]))
        if default is not None:
            owner.setdefault("model", {}).setdefault("vocab_size", default)
    values = _changed(values, change)
    values.pop("parameters", None)
    values["export"] = {
        key: value
        for key, value in values.get("export", {}).items()
        if key not in ("vocabulary", "vocabulary_size")
    }
    roles = values.get("tokenizer", {}).get("roles", {})
    for role, token in roles.items():
        roles[role] = model.tokenizer.id_to_token(token) if isinstance(token, int) else token
    return replace(model.recipe, values=values)


# === What the tokens that are left have in common with the whole model ===


def compare(model: keras.Model, small: keras.Model, cut: Cut, options: dict) -> dict:
    """Compare the smaller model's answers with the whole model's, of the tokens that are left.

    Returns:
        `tokens` and `of`, and the worst difference of any output as `parity.json` has it.

    Raises:
        ExportError: an answer that is not the same.
    """
    whole, signatures = (one.export_signatures(**options) for one in (model, small))
    sizes = (getattr(small.backbone, name, None) for name in ("vocab_size", "max_length"))
    infos = {name: info_of(signatures[name]) for name in _one_of_each_kind(signatures)}
    calls = signature_calls(infos, Samples(cut.tokenizer, *sizes))
    mode, all_found, complaints = MODES[EXACT], [], []
    name, arrays = next(calls)
    while True:
        found = run_in_keras(signatures[name], arrays)
        right = run_in_keras(whole[name], _with_old_ids(arrays, cut.rows))
        for key, value in found.items():
            answer = right[key]
            if answer.shape != value.shape:  # V logits
                answer = np.take(answer, cut.rows, axis=-1)
            all_found.append(difference(value, answer, state=key in arrays))
            what = f"smaller vocabulary, {name}: {key}"
            complaints.append(complaint(what, all_found[-1], mode))
        try:
            name, arrays = calls.send(found)
        except StopIteration:
            break
    refuse(complaints, mode)
    worst = functools.reduce(Difference.worse, all_found)
    return {"tokens": len(cut.rows), "of": model.backbone.vocab_size, **worst.as_json(mode)}


def _one_of_each_kind(signatures: Mapping) -> list[str]:
    """The first of those that differ in a length alone; without those whose answers hang on all V.

    >>> _one_of_each_kind(["prefill_16", "prefill_256", "decode", "decode_256", "score_32"])
    ['prefill_16', 'decode']
    """
    kinds: dict[str, str] = {}
    for name in signatures:
        kinds.setdefault(re.sub(r"[_\d]+$", "", name), name)
    return [name for kind, name in kinds.items() if kind not in ("verify", "score")]


def _with_old_ids(arrays: Mapping[str, np.ndarray], rows: tuple[int, ...]) -> dict:
    old = np.array(rows, np.int32)
    return {
        key: np.where(value < 0, value, old[value]) if key.endswith("token_ids") else value
        for key, value in arrays.items()
    }
