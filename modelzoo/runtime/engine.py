"""What runs a bundle's signatures, whatever its format. numpy only.

An engine has:
- `signatures`: {name: SignatureInfo}, as the model itself has them;
- `run(name, inputs) -> outputs`: one call, numpy arrays in and out;
- `stepper(source=None)`: a fresh state of its own for one generation, a `generation.Stepper`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelzoo.errors import BundleError, ModelzooError, nearest

FORMATS = ("tflite", "savedmodel")


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


@dataclass(frozen=True)
class StepPlan:
    """How a decoder's signatures make a stepper.

    Attributes:
        prefills: T -> signature that takes in T tokens; 1 is `decode` itself, whose logits are
            left unread: for a few tokens that is cheaper than a padded chunk.
        decodes: (limit, signature), the lowest limit first: `decode_256` sees the slots 0..255.
        state: names and shapes of what is carried over.
        context: inputs that the encoder provides.
        max_length: slots of the window, None for recurrent state.
    """

    prefills: Mapping[int, str]
    decodes: tuple[tuple[float, str], ...]
    state: Mapping[str, TensorInfo]
    context: tuple[str, ...]
    batch_size: int
    vocab_size: int
    max_length: int | None

    def decode_at(self, position: int) -> str:
        """The `decode` that reads least of the state and yet sees this position."""
        return next(name for limit, name in self.decodes if position < limit)

    def signature_for(self, token_ids: np.ndarray, positions: np.ndarray) -> str:
        """The signature for a chunk; refuses one that would pass the window's end.

        The device would write it over earlier slots without a word.
        """
        last = int(positions.max())
        if self.max_length is not None and last >= self.max_length:
            raise ModelzooError(f"position {last} is outside the window of {self.max_length}")
        if token_ids.shape[1] == 1:
            return self.decode_at(last)
        return self.prefills[token_ids.shape[1]]


def open_engine(
    bundle, threads: int | None = None, weight_cache: str | None = None
):  # -> LiteRTEngine | SavedModelEngine
    """The engine for a bundle's format.

    Args:
        threads: CPU threads; None is one a core that this process may use, four at most.
        weight_cache: a directory for the packed weights of TFLite models, which then load in a
            fraction of the time and share memory between signatures and processes.

    Raises:
        BundleError: an unknown format, or a model file that the runtime refuses.
        MissingDependencyError: a SavedModel without TensorFlow.
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ModelzooError(f"threads must be a whole number, 1 or more; got {threads!r}")
    kind = bundle.manifest["format"]
    if kind == "tflite":
        from modelzoo.runtime.litert import LiteRTEngine as Engine
    elif kind == "savedmodel":
        from modelzoo.runtime.saved_model import SavedModelEngine as Engine
    else:
        raise BundleError(
            f"unknown bundle format {kind!r}; this modelzoo runs {' and '.join(FORMATS)}",
            where=bundle.directory,
            did_you_mean=nearest(kind, FORMATS),
        )
    engine = Engine(bundle, threads, weight_cache)
    missing = [name for name in bundle.manifest["signatures"] if name not in engine.signatures]
    if missing:
        raise BundleError(
            f"the model has no signature {missing[0]!r}, which the manifest names; it has "
            f"{', '.join(engine.signatures)}",
            where=bundle.directory,
        )
    return engine


def plan_steps(signatures: Mapping[str, SignatureInfo]) -> StepPlan:
    """Read the plan from the signatures' names and shapes.

    Raises:
        ModelzooError: no `decode`, so the model does not generate.
        BundleError: an input that neither state nor the encoder provides.
    """
    if "decode" not in signatures:
        raise ModelzooError(f"this model has no decode signature; it has {', '.join(signatures)}")
    inputs, outputs = signatures["decode"].inputs, signatures["decode"].outputs
    state = {name: info for name, info in inputs.items() if name in outputs}
    context = tuple(name for name in inputs if name not in {*state, "token_ids", "positions"})
    encoder = signatures.get("encode")
    for name in context:
        if encoder is None or name not in {**encoder.outputs, **encoder.inputs}:
            raise BundleError(f"signature decode needs {name!r}, and nothing provides it")
    prefills = {
        info.inputs["token_ids"].shape[1]: name
        for name, info in signatures.items()
        if name.startswith("prefill")
    }
    windows = [info.shape[2] for name, info in state.items() if name.startswith("kv_cache_k")]
    max_length = max(windows, default=None)
    limits = {name: re.fullmatch(r"decode_(\d+)", name) for name in signatures}
    buckets = [(float(match[1]), name) for name, match in limits.items() if match]
    return StepPlan(
        prefills=dict(sorted({**prefills, 1: "decode"}.items())),
        decodes=(*sorted(buckets), (float("inf"), "decode")),
        state=state,
        context=context,
        batch_size=inputs["token_ids"].shape[0],
        vocab_size=outputs["logits"].shape[-1],
        max_length=max_length,
    )


def checked_inputs(name: str, info: SignatureInfo, inputs: Mapping) -> dict[str, np.ndarray]:
    """The inputs of one call as arrays of the signature's dtypes; refused if they do not fit."""
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
