"""A decoder's state by hand: read tokens, see what may come next, keep it, go back. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime.generation.prefill import prefill
from modelzoo.runtime.generation.steppers import Stepper

__all__ = ["Reader", "State", "StateStepper"]


class StateStepper(Stepper, Protocol):
    """A stepper whose state can be taken out and put back."""

    def read_state(self) -> dict[str, np.ndarray]:
        """Copies of the state's tensors."""
        ...

    def write_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Go on from these tensors, copies of what `read_state` gave."""
        ...


@dataclass(frozen=True)
class State:
    """What a model holds of the tokens that it has read.

    Attributes:
        position: how many they are.
        tensors: by name: `state_h_0` (1, width) and so on of a recurrent network; of another model
            the keys and values of each position.
        tokens: their ids; empty for a recurrent network, which needs none of them again.
    """

    position: int
    tensors: Mapping[str, np.ndarray]
    tokens: tuple[int, ...] = ()


class Reader:
    """Reads a text token by token, or in pieces of any length, and says what may come next.

    A recurrent network needs the same memory and time for each token, however long the text is; a
    model with a window ends with it.

    Args:
        stepper: `model.engine.stepper()`; `runtime.Model.reader` gives a reader of its own.

    Attributes:
        position: tokens that were read.
        max_length: positions that the model has, or `None` for a recurrent one.

    Example:
        >>> from modelzoo.runtime import load
        >>> model = load("gpt.bundle")
        >>> reader = model.reader()
        >>> logits = reader.read(model.tokenizer.encode("In the beginning"))
        >>> model.tokenizer.decode([int(logits.argmax())])
        ' God'
        >>> before = reader.state
        >>> _ = reader.read([int(logits.argmax())])
        >>> reader.state = before  # as if the last token had not been read
    """

    def __init__(self, stepper: StateStepper):
        self._stepper, self.max_length = stepper, stepper.max_length
        self.position = 0
        self._tokens: list[int] = []  # a chunk at the window's end reads some of them again

    def read(self, token_ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read tokens; (V,) float32, the logits of the token after the last of them.

        Raises:
            OverflowTextError: the window ends before them. Nothing is read then.
            ModelzooError: no token, or one outside the vocabulary.
        """
        ids = self._checked(token_ids)
        if self.max_length is None:
            prefill(self._stepper, [ids])  # a recurrent state has no positions
        else:
            prefill(self._stepper, [self._tokens + ids], start=self.position)
            self._tokens += ids
        self.position += len(ids)
        place = np.array([[self.position - 1]], np.int32)
        return self._stepper.decode(np.array([ids[-1:]], np.int32), place)[0]

    def _checked(self, token_ids) -> list[int]:
        ids = np.asarray(token_ids)
        if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
            raise ModelzooError(
                f"expected a list of one or more token ids, got {ids.dtype} of shape {ids.shape}",
                next_step='encode a text first: model.tokenizer.encode("a text")',
            )
        wrong = ids[(ids < 0) | (ids >= self._stepper.vocab_size)]
        if wrong.size:
            raise ModelzooError(
                f"token id {wrong[0]} is outside the vocabulary of {self._stepper.vocab_size:,}"
            )
        if self.max_length is not None and self.position + ids.size > self.max_length:
            raise OverflowTextError(
                f"{self.position:,} tokens were read, {ids.size:,} more do not fit in the model's "
                f"window of {self.max_length:,}",
                next_step="take a new reader and begin with the last part of the text, or a "
                "recurrent model, which has no window",
            )
        return ids.tolist()

    @property
    def state(self) -> State:
        """A copy of what the model holds; give it back to go on from there."""
        return State(self.position, self._stepper.read_state(), tuple(self._tokens))

    @state.setter
    def state(self, state: State) -> None:
        self._stepper.write_state(state.tensors)
        self.position, self._tokens = state.position, list(state.tokens)
