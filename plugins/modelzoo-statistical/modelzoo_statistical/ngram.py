"""The architecture of n-gram language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from modelzoo.errors import RecipeError

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 4096,
    order: int = 5,
    smoothing: Literal["modified-kneser-ney", "kneser-ney", "witten-bell"] = "modified-kneser-ney",
    discount: float | None = None,
    max_tokens: int = 2_097_152,
) -> keras.Model:
    """Build an n-gram language model that learns by counting (Chen and Goodman 1998).

    Args:
        order: N, tokens of the longest n-gram: the next token depends on the N - 1 before it.
        smoothing: `"modified-kneser-ney"`, with three discounts an order; `"kneser-ney"` (Kneser
            and Ney 1995), with one; `"witten-bell"` (Witten and Bell 1991). All are interpolated
            down to the uniform distribution.
        discount: of Kneser-Ney, instead of those that are estimated from the counts of counts.
        max_tokens: tokens of training text that it has room for. They are its parameters: counts
            are made of them when they are asked for, in about a second for a million tokens.

    Returns: an `Ngram`. Inputs `token_ids` and `padding_mask` (batch, time); output
        (batch, time, vocab_size), log probabilities of the next token.

    Raises:
        RecipeError: a value out of its range.

    Example:
        >>> build(vocab_size=100, order=3, max_tokens=1000).count_params()
        1001
    """
    for name, value in (("vocab_size", vocab_size), ("order", order), ("max_tokens", max_tokens)):
        if value < 1:
            raise RecipeError(f"{name} must be 1 or more, not {value}")
    if discount is not None and smoothing == "witten-bell":
        raise RecipeError("discount is Kneser-Ney's, and smoothing is witten-bell")
    if discount is not None and not 0 < discount <= 1:
        raise RecipeError(f"discount must be above 0 and at most 1, not {discount}")
    from modelzoo_statistical.ngram_model import Ngram

    return Ngram(
        vocab_size=vocab_size,
        order=order,
        smoothing=smoothing,
        discount=discount,
        max_tokens=max_tokens,
    )
