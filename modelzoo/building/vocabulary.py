"""A model's tokenizer: how many tokens it may have, and training one."""

from __future__ import annotations

from modelzoo import registry
from modelzoo.errors import (
    TokenizerError,
)
from modelzoo.recipe import Recipe
from modelzoo.recipe.composition import parts_of
from modelzoo.runtime.text.tokenizer import Tokenizer


def train_tokenizer_for(recipe: Recipe, examples) -> Tokenizer:
    """A tokenizer as the recipe's `[tokenizer]` table says, trained on the examples' texts."""
    from modelzoo.data.raw import iterate_texts
    from modelzoo.data.train_tokenizer import train_tokenizer
    from modelzoo.tasks.profile import said

    table = recipe.table("tokenizer")
    size, default = vocabulary_of(recipe)
    # Where three kinds of media are bound in pairs, some examples are an image and a sound alone.
    texts = [one for one in examples if not one.keys() <= {"image", "audio", "video"}] or examples
    tokenizer = train_tokenizer(
        iterate_texts(texts),
        kind=table.get("kind", "bpe"),
        vocab_size=size or default,
        specials=said(recipe.task, "special_tokens"),
    )
    check_vocabulary(tokenizer, size)
    return tokenizer


def vocabulary_of(recipe: Recipe) -> tuple[int | None, int | None]:
    """Tokens that the recipe states, for the model or the part that reads text; and the default."""
    stated = [(recipe.architecture, recipe.table("model"))]
    stated += [
        (table["architecture"], table.get("model", {})) for _, table in parts_of(recipe.values)
    ]
    size = next((table["vocab_size"] for _, table in stated if "vocab_size" in table), None)
    defaults = (default_vocabulary(registry.architecture(name)) for name, _ in stated)
    return size, next(filter(None, defaults), None)


def default_vocabulary(architecture) -> int | None:
    import inspect

    parameter = inspect.signature(architecture).parameters.get("vocab_size")
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int | None) -> None:
    if vocab_size is not None and tokenizer.vocab_size > vocab_size:
        raise TokenizerError(
            f"the tokenizer has {tokenizer.vocab_size:,} tokens and the model {vocab_size:,}",
            next_step=f"build with --set vocab_size={tokenizer.vocab_size}, "
            "or train a smaller tokenizer",
        )
