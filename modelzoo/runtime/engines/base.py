"""What runs a bundle's signatures, whatever its format. numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from modelzoo.errors import BundleError, ModelzooError, nearest, shown
from modelzoo.runtime.generation.reader import StateStepper
from modelzoo.runtime.generation.steppers import ImageStepper

# What the names of a decoder's signatures begin with.
STEPS = ("prefill", "decode", "verify", "score")


@dataclass(frozen=True)
class TensorInfo:
    """Static shape and numpy dtype name of a tensor."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class SignatureInfo:
    """Inputs and outputs of a signature by name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


class DeviceStepper(ImageStepper, StateStepper, Protocol):
    """What the engines' steppers offer besides drafts and scores."""


class Engine(Protocol):
    """Runs the signatures of a bundle."""

    @property
    def signatures(self) -> Mapping[str, SignatureInfo]:
        """The signatures by name, as the model itself has them."""
        ...

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One call of a signature: arrays by name in, arrays by name out."""
        ...


class SteppingEngine(Engine, Protocol):
    """An engine that also holds the state of a generation, where the signatures decode."""

    def stepper(self, source: Mapping[str, np.ndarray] | None = None) -> DeviceStepper:
        """A fresh state for one generation; `source` holds the inputs of `encode`."""
        ...


@dataclass(frozen=True)
class Window:
    """The signatures over one size of state.

    Attributes:
        slots: positions that the state has room for; None for a state that does not grow.
        calls: T -> signature that reads T tokens; 1 is `decode`, whose logits a prefill leaves
            unread: for a few tokens that is cheaper than a padded chunk.
        state: names and shapes of what is carried over.
        image: signature that reads an image whose vectors are tokens, where there is one.
        drafts: T -> signature that reads T tokens and gives the logits after each.
        scores: T -> signature that reads T tokens and gives the log-probabilities of the next.
    """

    slots: int | None
    calls: Mapping[int, str]
    state: Mapping[str, TensorInfo]
    image: str | None = None
    drafts: Mapping[int, str] = field(default_factory=dict)
    scores: Mapping[int, str] = field(default_factory=dict)

    def draft_lengths(self, position: int) -> tuple[int, ...]:
        """Lengths T of those `drafts` calls that have room for all T from a position on.

        >>> Window(8, {}, {}, drafts={4: "verify_4"}).draft_lengths(4)
        (4,)
        """
        return tuple(n for n in self.drafts if self.slots and position + n <= self.slots)

    def draft_call(self, positions: np.ndarray) -> str:
        """The signature that checks a draft at these positions (B, T).

        Raises:
            ModelzooError: none takes in T tokens there. The device would write them over earlier
                slots without a word.
        """
        first, length = int(positions.max()) + 1 - positions.shape[1], positions.shape[1]
        if length not in self.draft_lengths(first):
            known = ", ".join(map(str, self.drafts)) or "none"
            raise ModelzooError(
                f"no signature checks {length} tokens at position {first}: the window has "
                f"{self.slots} slots, and its signatures check {known}"
            )
        return self.drafts[length]

    def holds(self, position: int, length: int = 1, scored: bool = False) -> bool:
        """Whether a chunk of `length` tokens that ends at `position` can be read, or scored."""
        known = self.scores if scored else self.calls
        return length in known and (self.slots is None or position < self.slots)

    def filled(self, kept: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """The state's tensors by name: what is kept of a smaller window, and zeros after it.

        Each is taken out of `kept` when it is asked for: a state is not in memory three times.
        """
        for name, info in self.state.items():
            if name in kept:
                yield name, enlarged(kept.pop(name), info.shape, info.dtype)
            else:
                yield name, np.zeros(info.shape, info.dtype)


def enlarged(state: np.ndarray, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
    """A state of a smaller window at the beginning of a larger one, and zeros after it.

    >>> enlarged(np.ones((1, 2)), (1, 3)).tolist()
    [[1.0, 1.0, 0.0]]
    """
    array = np.zeros(shape, dtype or state.dtype)
    array[tuple(slice(size) for size in state.shape)] = state
    return array


@dataclass(frozen=True)
class StepPlan:
    """How a decoder's signatures make a stepper.

    Attributes:
        windows: the smallest first. A token costs what its window has slots, so a stepper begins
            in the first, and moves its state to a larger one when positions call for it.
        context: inputs that the encoder provides.
    """

    windows: tuple[Window, ...]
    context: tuple[str, ...]
    batch_size: int
    vocab_size: int

    @property
    def max_length(self) -> int | None:
        return self.windows[-1].slots

    @property
    def prefill_lengths(self) -> tuple[int, ...]:
        return tuple(sorted({length for window in self.windows for length in window.calls}))

    @property
    def score_lengths(self) -> tuple[int, ...]:
        return tuple(self.windows[-1].scores)

    def window_of(self, tensors: Mapping[str, np.ndarray]) -> Window:
        """The window that has a state of these names and shapes.

        Raises:
            ModelzooError: none has.
        """
        shapes = {name: np.shape(array) for name, array in tensors.items()}
        for window in self.windows:
            if shapes == {name: info.shape for name, info in window.state.items()}:
                return window
        first = {name: info.shape for name, info in self.windows[0].state.items()}
        raise ModelzooError(
            f"expected a state of {shown(first)}, got {shown(shapes)}",
            next_step="give back a state that a reader of this model gave",
        )

    def image_window(self, positions: np.ndarray, now: Window) -> tuple[Window, str]:
        """The window for an image at these positions (B, P), and the signature that takes it in.

        It is the first, from `now` on.

        Raises:
            ModelzooError: no signature has room for it there.
        """
        last = int(positions.max())
        for window in self.windows:
            fits = window.slots is None or last < window.slots
            if window.image and fits and (window.slots or 0) >= (now.slots or 0):
                return window, window.image
        raise ModelzooError(
            f"this model reads no image at positions {int(positions.min())} to {last}",
            next_step="put less text before the image, or export with other windows",
        )

    def window_for(self, positions: np.ndarray, now: Window, scored: bool = False) -> Window:
        """The window for a chunk of these positions (B, T): `now`, or the first that holds it.

        A text that begins again, at position 0, begins in the first window that there is.

        Raises:
            ModelzooError: the chunk passes the end of the last window. The device would write it
                over earlier slots without a word.
        """
        last, length = int(positions.max()), positions.shape[1]
        anew = begins_anew(positions)
        if now.holds(last, length, scored) and not anew:
            return now
        if self.max_length is not None and last >= self.max_length:
            raise ModelzooError(f"position {last} is outside the window of {self.max_length}")
        smallest = 0 if anew else now.slots or 0
        for window in self.windows:
            if (window.slots or 0) >= smallest and window.holds(last, length, scored):
                return window
        known = self.score_lengths if scored else self.prefill_lengths
        raise ModelzooError(
            f"no signature {'scores' if scored else 'reads'} {length} tokens at a time; choose one "
            f"of {', '.join(map(str, known)) or 'none'}"
        )


def in_order(name: str) -> tuple:
    """Sorts names of tensors: what is not numbered first, then layer 2 before layer 10.

    Example:
        >>> sorted(["k_10", "k_2", "token_ids"], key=in_order)
        ['token_ids', 'k_2', 'k_10']
    """
    stem, _, number = name.rpartition("_")
    return (1, stem, int(number)) if stem and number.isdigit() else (0, name, 0)


def signatures_as_json(signatures: Mapping[str, SignatureInfo]) -> dict:
    """An engine's signatures as the manifest has them, layer 2 before layer 10."""

    def tensors(infos):
        return {
            key: {"shape": list(infos[key].shape), "dtype": infos[key].dtype}
            for key in sorted(infos, key=in_order)
        }

    return {
        name: {"inputs": tensors(info.inputs), "outputs": tensors(info.outputs)}
        for name, info in signatures.items()
    }


def begins_anew(positions: np.ndarray) -> bool:
    """Whether a chunk (B, T) is the first of all its rows, so that nothing of a state is kept."""
    return not positions[:, 0].any()


def plan_steps(signatures: Mapping[str, SignatureInfo]) -> StepPlan:
    """Read the plan from the signatures: `decode*`, `prefill*`, `verify*`, `score*`, and shapes.

    Raises:
        ModelzooError: no `decode`, so the model does not generate.
        BundleError: an input that neither state nor the encoder provides, or a call without a part
            of the state.
    """
    if "decode" not in signatures:
        raise ModelzooError(f"this model has no decode signature; it has {', '.join(signatures)}")
    inputs, outputs = signatures["decode"].inputs, signatures["decode"].outputs
    names = [name for name in inputs if name in outputs]
    context = tuple(name for name in inputs if name not in {*names, "token_ids", "positions"})
    encoder = signatures.get("encode")
    for name in context:
        if encoder is None or name not in {**encoder.outputs, **encoder.inputs}:
            raise BundleError(f"signature decode needs {name!r}, and nothing provides it")
    calls: dict[int | None, dict[int, str]] = {}
    states: dict[int | None, dict[str, TensorInfo]] = {}
    images: dict[int | None, str] = {}
    drafts: dict[int | None, dict[int, str]] = {}
    scores: dict[int | None, dict[int, str]] = {}
    for name, info in signatures.items():
        if name.startswith(STEPS):
            lacking = [key for key in names if key not in info.inputs]
            if lacking:
                raise BundleError(f"signature {name} has no {lacking[0]!r}, which decode has")
            state = {key: info.inputs[key] for key in names}
            slots = min((t.shape[2] for k, t in state.items() if _is_keys(k)), default=None)
            if "token_ids" not in info.inputs:
                images[slots] = name
                continue
            kinds = {"verify": drafts, "score": scores}
            kind = kinds.get(name.partition("_")[0], calls)
            kind.setdefault(slots, {})[info.inputs["token_ids"].shape[1]] = name
            states[slots] = state
    sizes = sorted(calls, key=lambda slots: slots or 0)
    return StepPlan(
        windows=tuple(
            Window(
                n,
                dict(sorted(calls[n].items())),
                states[n],
                images.get(n),
                dict(sorted(drafts.get(n, {}).items())),
                dict(sorted(scores.get(n, {}).items())),
            )
            for n in sizes
        ),
        context=context,
        batch_size=inputs["token_ids"].shape[0],
        vocab_size=outputs["logits"].shape[-1],
    )


def encoder_of(signatures: Mapping[str, SignatureInfo], source: Mapping) -> str:
    """The name of the signature that encodes a source: of those `encode…`, the one for its inputs.

    Args:
        source: inputs by name.

    Returns: `encode` where none fits; running it reports what is missing.

    Example:
        >>> image = SignatureInfo({"images": TensorInfo((1, 8, 8, 3), "uint8")}, {})
        >>> encoder_of({"encode_image": image}, {"images": None}), encoder_of({}, {})
        ('encode_image', 'encode')
    """
    names = (name for name in signatures if name.partition("_")[0] == "encode")
    return next((n for n in names if set(signatures[n].inputs) == set(source)), "encode")


def _is_keys(name: str) -> bool:
    return name.startswith("kv_cache_k")


def checked_inputs(name: str, info: SignatureInfo, inputs: Mapping) -> dict[str, np.ndarray]:
    """The inputs of one call as arrays of the signature's dtypes; rejected if they do not fit."""
    for key in inputs:
        if key not in info.inputs:
            raise ModelzooError(
                f"signature {name} has no input {key!r}; it has {', '.join(info.inputs)}",
                did_you_mean=nearest(key, info.inputs),
            )
    arrays = {}
    for key, tensor in info.inputs.items():
        if key not in inputs:
            raise ModelzooError(f"signature {name} needs the input {key!r}")
        array = np.asarray(inputs[key])
        if array.shape != tensor.shape:
            raise ModelzooError(
                f"input {key!r} of signature {name} has shape {array.shape}, not {tensor.shape}"
            )
        if not np.can_cast(array.dtype, tensor.dtype, "same_kind"):
            raise ModelzooError(
                f"input {key!r} of signature {name} is {array.dtype}, not {tensor.dtype}"
            )
        arrays[key] = array.astype(tensor.dtype, copy=False)
    return arrays
