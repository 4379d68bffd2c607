"""What an exporter is: a function that writes a model's signatures in one format.

    export(model, signatures, folder, *, mode, scratch) -> Artifact

Args: the Keras model; {name: Signature} of what goes into the file; the bundle's folder; the
`precision.Mode`; a folder for what is only needed on the way. It knows signatures, never families.
Exporters run in the child process, on Keras' TensorFlow backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["WORK", "Artifact"]

WORK = ".work"  # inside the folder that becomes the bundle, and gone before it does


@dataclass(frozen=True)
class Artifact:
    """What an exporter wrote.

    Attributes:
        model: the file or directory, relative to the bundle's folder.
        facts: figures for `parity.json`: operations, bytes, expected bytes.
        engine: `engine(bundle) -> engine` for a format that `modelzoo.runtime` does not run; it
            must offer what `runtime.engine` describes.
    """

    model: str
    facts: dict = field(default_factory=dict)
    engine: Callable | None = None
