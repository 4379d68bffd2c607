"""The format `savedmodel`: for servers and for whoever has TensorFlow, without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelzoo.errors import ExportError
from modelzoo.exporting.bundle.readme_code import program
from modelzoo.exporting.formats.artifact import Artifact
from modelzoo.exporting.formats.byte_budget import SLACK, TABLES, check_size
from modelzoo.exporting.formats.format import Format
from modelzoo.exporting.quantization.precision import Mode
from modelzoo.signature import Signature

NAME = "saved_model"


def export(
    model, signatures: Mapping[str, Signature], folder: Path, *, mode: Mode, scratch: Path
) -> Artifact:
    """Write `saved_model/`; see `exporting.formats.artifact`.

    Raises:
        ExportError: the weights are in it more than once.
    """
    from modelzoo.exporting.formats.graph import (
        expected_bytes,
        saved_model_bytes,
        write_saved_model,
    )

    variables = write_saved_model(signatures, folder / NAME)
    stored, constants = saved_model_bytes(folder / NAME)
    expected = expected_bytes(variables, mode.bytes_per_weight)
    check_size("the SavedModel's weights take", stored, expected, SLACK)
    if constants > TABLES:
        raise ExportError(
            f"the graph holds {constants:,} bytes of constants, and {TABLES:,} are allowed: a "
            "weight was captured as a constant",
            next_step="make it a keras.Variable of the model (add_weight)",
        )
    size = sum(path.stat().st_size for path in (folder / NAME).rglob("*") if path.is_file())
    facts = {"bytes": size, "weight_bytes": stored, "expected_weight_bytes": expected}
    return Artifact(NAME, facts)


def _programs(manifest: Mapping) -> str:
    """Python with TensorFlow."""
    return program("Python, with TensorFlow alone", "python", _PYTHON, manifest)


_PYTHON = """
import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load("<MODEL>")  # keep it: the signatures do not hold the weights
signature = loaded.signatures["<NAME>"]
specs = signature.structured_input_signature[1]
inputs = {key: tf.zeros(spec.shape, spec.dtype) for key, spec in specs.items()}
for key, value in signature(**inputs).items():
    print(key, np.ravel(value)[:4])
"""

FORMAT = Format("savedmodel", ("float32",), "float32", engine="saved_model", readme=_programs)
