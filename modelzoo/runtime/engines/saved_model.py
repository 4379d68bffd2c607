"""SavedModel bundles on TensorFlow, which this module alone of the runtime needs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from modelzoo.errors import BundleError, ModelzooError, require
from modelzoo.runtime.engines.base import (
    SignatureInfo,
    TensorInfo,
    begins_anew,
    checked_inputs,
    encoder_of,
    plan_steps,
)
from modelzoo.runtime.engines.native_log import quiet_tensorflow
from modelzoo.runtime.generation.drafting import PassTimes


class SavedModelEngine:
    """Runs the SavedModel of a bundle.

    Args:
        bundle: from `read_bundle`.
        threads: as `open_engine`; TensorFlow takes it for the whole process and only before its
            first computation.
        weight_cache: must not be a directory; a SavedModel has no packed weights.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
        ModelzooError: `threads` after TensorFlow has started, or a directory.
    """

    def __init__(
        self,
        bundle,
        threads: int | None = None,
        weight_cache: str | os.PathLike | bool | None = None,
    ):
        if isinstance(weight_cache, str | os.PathLike):
            raise ModelzooError("weight_cache is for TFLite bundles; this one is a SavedModel")
        with quiet_tensorflow():
            tf = self._tf = require("tensorflow", "tensorflow")
        if threads is not None:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
            except RuntimeError as error:
                raise ModelzooError(
                    "TensorFlow has already started, so its threads cannot be changed",
                    next_step="load the bundle first, or leave threads out",
                ) from error
        self.threads = threads
        try:
            self._loaded = tf.saved_model.load(str(bundle.model_path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise BundleError(
                f"TensorFlow cannot load the model: {error}", where=bundle.model_path
            ) from error
        self._functions = dict(self._loaded.signatures)
        self.pass_times: defaultdict[int | None, PassTimes] = defaultdict(PassTimes)
        self.signatures = {
            name: SignatureInfo(
                _infos(function.structured_input_signature[1]), _infos(function.structured_outputs)
            )
            for name, function in self._functions.items()
        }

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One call of a signature: arrays by name in, arrays by name out."""
        if name not in self.signatures:
            raise ModelzooError(
                f"this model has no signature {name!r}; it has {', '.join(self.signatures)}"
            )
        arrays = checked_inputs(name, self.signatures[name], inputs)
        return {key: value.numpy() for key, value in self._call(name, arrays).items()}

    def stepper(self, source: Mapping[str, np.ndarray] | None = None) -> SavedModelStepper:
        """A fresh state for one generation; `source` holds the inputs of `encode`."""
        return SavedModelStepper(self, source)

    def _call(self, name: str, tensors: Mapping) -> dict:
        return self._functions[name](**{k: self._tf.constant(v) for k, v in tensors.items()})


class SavedModelStepper:
    """`generation.Stepper` whose state goes through each call as tensors."""

    def __init__(self, engine: SavedModelEngine, source: Mapping[str, np.ndarray] | None):
        self._engine = engine
        self._plan = plan = plan_steps(engine.signatures)
        self.batch_size, self.vocab_size = plan.batch_size, plan.vocab_size
        self.max_length = plan.max_length
        self.prefill_lengths = plan.prefill_lengths
        self.prefill_length = self.prefill_lengths[-1]
        self.window, self.kept = plan.windows[0], 0
        self._state = dict(self.window.filled({}))
        self._context = {}
        if plan.context:
            name = encoder_of(engine.signatures, source or {})
            arrays = checked_inputs(name, engine.signatures[name], source or {})
            known = {**arrays, **engine._call(name, arrays)}
            self._context = {name: known[name] for name in plan.context}

    def prefill(self, token_ids: np.ndarray, positions: np.ndarray) -> None:
        """Take in a chunk (1, T), T one of `prefill_lengths`."""
        self._step(token_ids, positions)

    def prefill_image(self, images: np.ndarray, positions: np.ndarray) -> None:
        """Take in an image (1, H, W, 3) at the positions (1, P) that its vectors have."""
        window, name = self._plan.image_window(positions, self.window)
        self._go_to(window, positions)
        inputs = {"images": images, "positions": positions}
        wanted = self._engine.signatures[name].inputs
        own = {key: info for key, info in wanted.items() if key not in self._state}
        arrays = checked_inputs(name, SignatureInfo(own, {}), inputs)
        outputs = self._engine._call(name, {**self._state, **arrays})
        self._state = {key: outputs[key] for key in self._state}
        self.kept = int(positions.max()) + 1

    def decode(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Take in one token (1, 1); logits (1, V) float32."""
        return self._logits(self._step(token_ids, positions))[:, -1]

    def draft_lengths(self, position: int) -> tuple[int, ...]:
        """Lengths T that `verify` takes in from a position on."""
        return self.window.draft_lengths(position)

    def verify(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Take in T tokens (1, T); logits (1, T, V) float32."""
        name = self.window.draft_call(positions)
        return self._logits(self._run(name, token_ids, positions))

    @property
    def score_lengths(self) -> tuple[int, ...]:
        """Lengths T that `score` takes in."""
        return self._plan.score_lengths

    def score(
        self, token_ids: np.ndarray, positions: np.ndarray, target_ids: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take in T tokens (1, T); log-probabilities of the targets, and what they lack (1, T)."""
        window = self._plan.window_for(positions, self.window, scored=True)
        self._go_to(window, positions)
        found = self._run(
            window.scores[token_ids.shape[1]], token_ids, positions, target_ids=target_ids
        )
        return found["log_probs"].numpy(), found["gap"].numpy()

    @property
    def pass_times(self) -> PassTimes:
        """Of the present window, for all steppers of the engine."""
        return self._engine.pass_times[self.window.slots]

    def _step(self, token_ids, positions) -> dict:
        window = self._plan.window_for(positions, self.window)
        self._go_to(window, positions)
        return self._run(window.calls[token_ids.shape[1]], token_ids, positions)

    def _logits(self, outputs: Mapping) -> np.ndarray:
        logits = outputs["logits"].numpy().astype(np.float32, copy=False)
        return logits.reshape(self.batch_size, -1, self.vocab_size)

    def _run(self, name: str, token_ids, positions, **more) -> dict:
        inputs = {"token_ids": token_ids, "positions": positions, **more}
        inputs |= {**self._context, **self._state}
        wanted = self._engine.signatures[name].inputs
        outputs = self._engine._call(name, {key: inputs[key] for key in wanted})
        self._state = {key: outputs[key] for key in self._state}
        return outputs

    def read_state(self) -> dict[str, np.ndarray]:
        """Copies of the state's tensors, as they are now."""
        return {name: np.array(value) for name, value in self._state.items()}

    def write_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Go on from copies of a state's tensors."""
        self.window = self._plan.window_of(tensors)
        self._state = dict(self.window.filled(dict(tensors)))

    def _go_to(self, window, positions) -> None:
        if window is not self.window:
            kept = {} if begins_anew(positions) else self._state
            self._state = dict(
                window.filled({name: np.asarray(value) for name, value in kept.items()})
            )
            self.window = window


def _infos(specs: Mapping) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(tuple(spec.shape.as_list()), spec.dtype.name)
        for name, spec in specs.items()
    }
