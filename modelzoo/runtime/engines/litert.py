"""TFLite bundles on LiteRT's CompiledModel. Needs ai-edge-litert and numpy.

A decoder's state lives in buffers that are input and output of the same call: it is updated in
place and never passes through numpy. A token costs one call, two integers in and the logits out.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from modelzoo.errors import BundleError, MissingDependencyError, ModelzooError
from modelzoo.runtime.cores import usable_cores
from modelzoo.runtime.engines.base import (
    SignatureInfo,
    TensorInfo,
    Window,
    begins_anew,
    checked_inputs,
    encoder_of,
    plan_steps,
)
from modelzoo.runtime.engines.native_log import errors_in, mute_exit, native_log
from modelzoo.runtime.engines.weight_cache import load_with_weights
from modelzoo.runtime.generation.drafting import PassTimes


class LiteRTEngine:
    """Runs `model.tflite` of a bundle on the CPU. Safe to use from several threads, one at a time.

    Args:
        bundle: from `read_bundle`.
        threads, weight_cache: see `open_engine`.

    Attributes:
        packed: how the weights were packed.
    """

    def __init__(
        self,
        bundle,
        threads: int | None = None,
        weight_cache: str | os.PathLike | bool | None = None,
    ):
        self.threads = threads or default_threads()
        digest = bundle.manifest["files"][bundle.manifest["model"]]
        with native_log() as log:
            litert = _litert()

            def open_model(cache_file: str):
                cpu = litert.CpuOptions(
                    num_threads=self.threads, xnnpack_weight_cache_path=cache_file
                )
                return litert.CompiledModel.from_file(
                    str(bundle.model_path),
                    environment=_environment(),
                    options=litert.Options(cpu_options=cpu),
                )

            try:
                self._model, self.packed = load_with_weights(open_model, weight_cache, digest)
                self.signatures = self._read_signatures()
                # The first write to a buffer sets LiteRT's own defaults up, which is as talkative.
                name, info = next(iter(self.signatures.items()))
                key, tensor = next(iter(info.inputs.items()))
                self._input(name, key).write(np.zeros(tensor.shape, tensor.dtype))
            except Exception as error:  # the binding raises bare RuntimeError and ValueError
                raise BundleError(
                    f"LiteRT cannot load the model: {error}{errors_in(log())}",
                    where=bundle.model_path,
                    next_step="check the bundle with `modelzoo verify`, or export it again",
                ) from error
        self._buffers: dict[str, tuple[dict, dict]] = {}
        self.pass_times: defaultdict[int | None, PassTimes] = defaultdict(PassTimes)
        self._lock = threading.Lock()

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One call of a signature: arrays by name in, arrays by name out.

        Raises:
            ModelzooError: no such signature, or inputs that do not fit it.
        """
        info = self._signature(name)
        arrays = checked_inputs(name, info, inputs)
        with self._lock:
            if name not in self._buffers:
                self._buffers[name] = (
                    {key: self._input(name, key) for key in info.inputs},
                    {key: self._output(name, key) for key in info.outputs},
                )
            ins, outs = self._buffers[name]
            for key, array in arrays.items():
                ins[key].write(array)
            self._call(name, list(ins.values()), list(outs.values()))
            return {key: _read(outs[key], tensor) for key, tensor in info.outputs.items()}

    def stepper(self, source: Mapping[str, np.ndarray] | None = None) -> LiteRTStepper:
        """A fresh state for one generation; several may be in use at once.

        Args:
            source: inputs of `encode`, for an encoder-decoder. A model that reads images as tokens
                is given them by the stepper's `prefill_image`.
        """
        return LiteRTStepper(self, source)

    def _read_signatures(self) -> dict[str, SignatureInfo]:
        return {
            name: SignatureInfo(
                _infos(self._model.get_input_tensor_details(name), order["inputs"]),
                _infos(self._model.get_output_tensor_details(name), order["outputs"]),
            )
            for name, order in self._model.get_signature_list().items()
        }

    def _signature(self, name: str) -> SignatureInfo:
        if name not in self.signatures:
            raise ModelzooError(
                f"this model has no signature {name!r}; it has {', '.join(self.signatures)}"
            )
        return self.signatures[name]

    def _input(self, signature: str, name: str):
        return self._model.create_input_buffer_by_name(signature, name)

    def _output(self, signature: str, name: str):
        return self._model.create_output_buffer_by_name(signature, name)

    def _call(self, name: str, ins: list, outs: list) -> None:
        """Run with buffers in the signature's order. The caller holds the lock."""
        self._invoke(name, self._model.get_signature_index(name), ins, outs)

    def _invoke(self, name: str, index: int, ins: list, outs: list) -> None:
        try:
            self._model.run_by_index(index, ins, outs)
        except RuntimeError as error:
            raise ModelzooError(f"LiteRT failed in signature {name!r}: {error}") from error


class LiteRTStepper:
    """`generation.Stepper` over an engine's decoder, with buffers of its own.

    Attributes:
        window: the state's present size; it grows with the positions.
        kept: positions at the beginning that an image, and what stands before it, take.
    """

    def __init__(self, engine: LiteRTEngine, source: Mapping[str, np.ndarray] | None):
        self._engine = engine
        self._plan = plan = plan_steps(engine.signatures)
        self.batch_size, self.vocab_size = plan.batch_size, plan.vocab_size
        self.max_length = plan.max_length
        self.prefill_lengths = plan.prefill_lengths
        self.prefill_length = self.prefill_lengths[-1]
        self.kept = 0

        self._context = self._encode(source) if plan.context else {}
        self._logits: dict[TensorInfo, Any] = {}  # a buffer for all calls of as many tokens
        self._enter(plan.windows[0], {})

    def prefill(self, token_ids: np.ndarray, positions: np.ndarray) -> None:
        """Take in a chunk (1, T), T one of `prefill_lengths`."""
        self._step(token_ids, positions)

    def prefill_image(self, images: np.ndarray, positions: np.ndarray) -> None:
        """Take in an image (1, H, W, 3) at the positions (1, P) that its vectors have."""
        window, name = self._plan.image_window(positions, self.window)
        self._go_to(window, positions)
        inputs, outs, index = self._buffers_of(name)
        info = self._engine.signatures[name]
        given = checked_inputs(
            name,
            SignatureInfo({k: v for k, v in info.inputs.items() if k not in self._state}, {}),
            {"images": images, "positions": positions},
        )
        with self._engine._lock:
            for key, array in given.items():
                inputs[key].write(array)
            self._engine._invoke(name, index, list(inputs.values()), outs)
        self.kept = int(positions.max()) + 1

    def decode(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Take in one token (1, 1); logits (1, V) float32."""
        return self._read_logits(self._step(token_ids, positions))[:, -1]

    def draft_lengths(self, position: int) -> tuple[int, ...]:
        """Lengths T that `verify` takes in from a position on."""
        return self.window.draft_lengths(position)

    def verify(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Take in T tokens (1, T); logits (1, T, V) float32."""
        name = self.window.draft_call(positions)
        self._run(name, token_ids, positions)
        return self._read_logits(name)

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
        name = window.scores[token_ids.shape[1]]
        self._run(name, token_ids, positions, target_ids)
        infos = self._engine.signatures[name].outputs
        outs = dict(zip(infos, self._calls[name][-1], strict=True))
        log_probs, gap = (_read(outs[key], infos[key]) for key in ("log_probs", "gap"))
        return log_probs, gap

    @property
    def pass_times(self) -> PassTimes:
        """Of the present window, for all steppers of the engine."""
        return self._engine.pass_times[self.window.slots]

    def _step(self, token_ids, positions) -> str:
        """The signature that took the tokens in."""
        window = self._plan.window_for(positions, self.window)
        self._go_to(window, positions)
        name = window.calls[token_ids.shape[1]]
        self._run(name, token_ids, positions)
        return name

    def _read_logits(self, name: str) -> np.ndarray:
        info = self._engine.signatures[name].outputs["logits"]
        logits = _read(self._logits[info], info).astype(np.float32, copy=False)
        return logits.reshape(self.batch_size, -1, self.vocab_size)

    def _run(self, name: str, *arrays) -> None:
        """Run with the token ids, positions, and what else `_bind` finds inputs for."""
        if name not in self._calls:
            self._calls[name] = self._bind(name)
        index, given, ins, outs = self._calls[name]
        with self._engine._lock:
            for buffer, array in zip(given, arrays, strict=False):
                if buffer is not None:  # an input that nothing reads
                    buffer.write(array)
            self._engine._invoke(name, index, ins, outs)

    def read_state(self) -> dict[str, np.ndarray]:
        """Copies of the state's tensors, as they are now."""
        return {name: _read(self._state[name], info) for name, info in self.window.state.items()}

    def write_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Go on from copies of a state's tensors."""
        window = self._plan.window_of(tensors)
        if window is not self.window:
            self._enter(window, dict(tensors))
            return
        for name, info in window.state.items():
            self._state[name].write(np.ascontiguousarray(tensors[name], info.dtype))

    def _go_to(self, window: Window, positions: np.ndarray) -> None:
        if window is not self.window:
            self._enter(window, {} if begins_anew(positions) else self.read_state())

    def _enter(self, window: Window, kept: dict[str, np.ndarray]) -> None:
        """Go on in another window, with what is kept of the present one and is empty afterwards."""
        self.window = window
        self._state, self._calls = {}, {}  # the old buffers go before the new ones come
        for name, array in window.filled(kept):
            self._state[name] = self._engine._input(window.calls[1], name)
            self._state[name].write(array)
            del array
        _return_free_memory()

    def _bind(self, name: str) -> tuple:
        """Everything of a call that does not change from token to token."""
        inputs, outs, index = self._buffers_of(name)
        given = [inputs.get(key) for key in ("token_ids", "positions", "target_ids")]
        return index, given, list(inputs.values()), outs

    def _buffers_of(self, name: str) -> tuple[dict, list, int]:
        """A call's input buffers by name, its output buffers in order, and its index."""
        engine, info = self._engine, self._engine.signatures[name]
        shared = {**self._context, **self._state}
        inputs = {
            key: shared[key] if key in shared else engine._input(name, key) for key in info.inputs
        }
        outs = [
            self._state[key]  # in place: the same buffer goes in and comes out
            if key in self._state
            else self._output(name, key)
            for key in info.outputs
        ]
        return inputs, outs, engine._model.get_signature_index(name)

    def _output(self, name: str, key: str):
        info = self._engine.signatures[name].outputs[key]
        if key == "logits" and info in self._logits:
            return self._logits[info]
        buffer = self._engine._output(name, key)
        if key == "logits":
            self._logits[info] = buffer
        return buffer

    def _encode(self, source: Mapping[str, np.ndarray] | None) -> dict:
        """Run the encoder into the buffers that the decoder reads; its inputs stay too."""
        engine, name = self._engine, encoder_of(self._engine.signatures, source or {})
        info = engine.signatures[name]
        arrays = checked_inputs(name, info, source or {})
        shared = {key: engine._input("decode", key) for key in self._plan.context}
        ins = {key: engine._input(name, key) for key in info.inputs}
        outs = {
            key: shared[key] if key in shared else engine._output(name, key) for key in info.outputs
        }
        for key, array in arrays.items():
            ins[key].write(array)
            if key in shared and key not in info.outputs:
                shared[key].write(array)
        with engine._lock:
            engine._call(name, list(ins.values()), list(outs.values()))
        return shared


def default_threads() -> int:
    """One thread a core that this process may use, four at most."""
    return min(4, usable_cores())


def _litert():
    """The LiteRT package, imported when the first bundle is loaded: that takes 0.2 s."""
    try:
        from ai_edge_litert import compiled_model
    except ImportError as error:
        raise MissingDependencyError(
            f"ai-edge-litert, which runs TFLite bundles, does not import: {error}",
            next_step="pip install ai-edge-litert",
        ) from error
    return compiled_model


@cache
def _environment():
    """One LiteRT environment a process: its set-up costs more than a small model's load."""
    atexit.register(mute_exit)
    return _litert().Environment.create()


def _return_free_memory() -> None:
    """What was freed goes back to the system, where the C library would keep it for later (glibc).

    Loading and each window leave tens of megabytes that nothing asks for again.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _infos(details: Mapping, order: list[str]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(tuple(int(n) for n in details[name]["shape"]), details[name]["dtype"])
        for name in order
    }


def _read(buffer, tensor: TensorInfo) -> np.ndarray:
    return buffer.read(int(np.prod(tensor.shape)), tensor.dtype).reshape(tensor.shape)
