"""What the generation loop asks of a model, as types."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from modelzoo.runtime.generation.drafting import PassTimes


class Stepper(Protocol):
    """What the loop asks of a model: it holds the state of `batch_size` rows.

    Attributes:
        batch_size: rows B.
        max_length: positions that the state has room for, or None (recurrent: no limit).
        vocab_size: ids V.
        prefill_length: tokens T of a `prefill` call. A stepper that accepts several has
            `prefill_lengths` too, a tuple of them. One that has read an image has `kept`: so
            many positions at the beginning that no token of a prompt could write again. One that
            checks drafts is a `DraftStepper`.
    """

    batch_size: int
    max_length: int | None
    vocab_size: int
    prefill_length: int

    def prefill(self, token_ids: np.ndarray, positions: np.ndarray) -> None:
        """Take in token_ids (B, T) int32 at positions (B, T) int32; -1 ids are padding."""
        ...

    def decode(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Take in token_ids (B, 1) at positions (B, 1); the next token's logits (B, V) float32."""
        ...


class DraftStepper(Stepper, Protocol):
    """A stepper that can also check drafts, where the state holds a slot for each position.

    Attributes:
        pass_times: of the passes over the present state; steppers of one model may share it.
    """

    @property
    def pass_times(self) -> PassTimes: ...

    def draft_lengths(self, position: int) -> tuple[int, ...]:
        """Lengths T that `verify` takes in from a position on; none where that would not pay."""
        ...

    def verify(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """As `decode`, of token_ids (B, T) at positions (B, T); logits (B, T, V) float32."""
        ...


class ScoreStepper(Stepper, Protocol):
    """A stepper that can also say how likely tokens are."""

    @property
    def score_lengths(self) -> tuple[int, ...]:
        """Lengths T that `score` takes in; none where the model has no signature for it."""
        ...

    def score(
        self, token_ids: np.ndarray, positions: np.ndarray, target_ids: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `prefill`, of token_ids (B, T); two float32 (B, T) of target_ids, the next tokens.

        Returns: their log-probabilities, and by how much the likeliest token's is greater.
        """
        ...


class ImageStepper(Stepper, Protocol):
    """A stepper that can also read images, where the model has a signature for them."""

    kept: int

    def prefill_image(self, images: np.ndarray, positions: np.ndarray) -> None:
        """Take in images (B, H, W, C) at the positions (B, P) that their vectors have."""
