"""The architecture of hidden Markov models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelzoo.errors import RecipeError

if TYPE_CHECKING:
    import keras


def build(
    *, vocab_size: int = 4096, num_states: int = 256, initializer_range: float = 1.0
) -> keras.Model:
    """Build a hidden Markov model of tokens (Rabiner 1989), which `fit` trains by gradient.

    Args:
        num_states: K.
        initializer_range: standard deviation of the logarithms of all probabilities at the start,
            before they are made to sum to 1. States that are alike stay alike: not 0.

    Returns: a `HiddenMarkov`. Inputs `token_ids` and `padding_mask` (batch, time); output
        (batch, time, num_states), what is believed about the next state.

    Raises:
        RecipeError: a value out of its range.

    Example:
        >>> build(vocab_size=10, num_states=3).count_params()  # 3 + 3 * 3 + 10 * 3
        42
    """
    for name, value in (("vocab_size", vocab_size), ("num_states", num_states)):
        if value < 1:
            raise RecipeError(f"{name} must be 1 or more, not {value}")
    if not initializer_range > 0:
        raise RecipeError(f"initializer_range must be above 0, not {initializer_range}")
    from modelzoo_statistical.hidden_markov import HiddenMarkov

    return HiddenMarkov(
        vocab_size=vocab_size, num_states=num_states, initializer_range=initializer_range
    )
