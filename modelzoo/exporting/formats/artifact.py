"""What an exporter is: a function that writes a model's signatures in one format.

    export(model, signatures, folder, *, mode, scratch) -> Artifact

Args: the Keras model; {name: Signature} of what goes into the file; the bundle's folder; the
`precision.Mode`; a folder for what is only needed on the way. It knows signatures, never families.
What holds for the format as a whole is its `format.Format`, `FORMAT` in the exporter's module.
Exporters run in the child process, on Keras' TensorFlow backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelzoo.signature import Signature

__all__ = ["WORK", "Artifact"]

WORK = ".work"  # inside the folder that becomes the bundle, and gone before it does


@dataclass(frozen=True)
class Artifact:
    """What an exporter wrote.

    Attributes:
        model: the file or directory, relative to the bundle's folder.
        facts: figures for `parity.json`: operations, bytes, expected bytes.
        reference: of a quantized file, the same in float32 among what is only needed on the way:
            it shows which layer differs first.
        engine: `engine(bundle) -> engine` that verifies the bundle, for a format that
            `modelzoo.runtime` does not run; it must offer what `runtime.engines.base` describes.
        signatures: what went into the file, where it is not all that the exporter was given.
    """

    model: str
    facts: dict = field(default_factory=dict)
    reference: Path | None = None
    engine: Callable | None = None
    signatures: Mapping[str, Signature] | None = None
