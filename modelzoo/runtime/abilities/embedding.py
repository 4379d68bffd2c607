"""Vectors of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.encoding import EncodesTexts, is_one_text
from modelzoo.runtime.abilities.labels import check_numbers
from modelzoo.runtime.abilities.protocols import Embeds

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Several


class EmbedAbility(EncodesTexts, Embeds):
    """What `runtime.Model` does with a model that gives a text a vector: mixed into it."""

    embedding_signature: str | None

    def embed(
        self, text: str | Several[str | tuple[str, str]], truncate: bool = False
    ) -> np.ndarray:
        """A text's vector (D,) float32; for a list of N texts (N, D).

        Raises:
            OverflowTextError: longer than the model's static length.
            ModelzooError: a bundle that does not embed.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("minilm.bundle").embed(["a dog", "a puppy"]).shape
            (2, 256)
        """
        self._need("embed")
        assert self.embedding_signature is not None  # or it could not
        vectors = self._answers(
            self.embedding_signature, text, truncate, lambda outputs, _: outputs["embedding"]
        )
        if not vectors:
            raise ModelzooError("there is no text to embed: the list is empty")
        found = vectors[0] if is_one_text(text) else np.stack(vectors)
        check_numbers(found, "the text's vector")
        return found


def embedding_signature(signatures) -> str | None:
    for name in ("embed", "serve", "encode_text"):
        if name in signatures and "embedding" in signatures[name].outputs:
            return name
    return None
