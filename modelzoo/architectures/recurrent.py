"""LSTM and GRU language models, the baselines; and encoders of the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 10_000,
    embedding_dim: int = 650,
    hidden_dims: tuple[int, ...] = (650, 650),
    cell: Literal["lstm", "gru"] = "lstm",
    tie_embeddings: bool = False,
    dropout: float = 0.5,
    initializer_range: float = 0.05,
    bidirectional: bool = False,
) -> keras.Model:
    """Build a recurrent language model (Zaremba et al. 2014; tied: Merity et al. 2018).

    Args:
        hidden_dims: units of each layer, from the bottom up.
        cell: `"lstm"` (Hochreiter and Schmidhuber 1997) or `"gru"` (Cho et al. 2014).
        tie_embeddings: read the logits off the token table; the last width must be `embedding_dim`.
        bidirectional: read both ways; the output is twice as wide, and the model generates no text.

    Returns: a `Recurrent`, or a `RecurrentEncoder` that reads both ways. Inputs `token_ids` and
        `padding_mask` (B, T); output (B, T, width).

    Raises:
        RecipeError: no layer; tied tables of unequal width, or of a network without logits.

    Example:
        >>> build(vocab_size=100, embedding_dim=8, hidden_dims=(8,)).count_params()
        2244
    """
    parameters = dict(locals())
    from modelzoo.backbones.recurrent import Recurrent, RecurrentEncoder
    from modelzoo.errors import RecipeError

    if not hidden_dims or min(hidden_dims) < 1:
        raise RecipeError(f"hidden_dims needs the width of a layer or more, not {[*hidden_dims]}")
    if parameters.pop("bidirectional"):
        if parameters.pop("tie_embeddings"):
            raise RecipeError("tie_embeddings is for logits, and a bidirectional network has none")
        return RecurrentEncoder(**parameters)
    if tie_embeddings and hidden_dims[-1] != embedding_dim:
        raise RecipeError(
            f"tie_embeddings needs a last layer as wide as the embeddings: {hidden_dims[-1]} "
            f"is not embedding_dim {embedding_dim}"
        )
    return Recurrent(**parameters)
