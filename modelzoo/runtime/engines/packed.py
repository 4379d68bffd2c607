"""The TFLite graph inside a `.litertlm` file, on LiteRT: what LiteRT-LM computes, to compare with.

`runtime.load` opens no such bundle; LiteRT-LM drives them. Needs ai-edge-litert and numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from modelzoo.files import scratch
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.engines.litert import LiteRTEngine, LiteRTStepper
from modelzoo.runtime.trust.check import check
from modelzoo.runtime.trust.tflite import packed_graph

__all__ = ["PackedEngine", "check_packed"]

_PIECE = 1 << 24  # bytes that are copied at once


class PackedEngine(LiteRTEngine):
    """Runs the very bytes of the first TFLite graph that lie in a bundle's `.litertlm`.

    Args:
        bundle: from `read_bundle`, and checked by `check_packed`.
        threads: as in `open_engine`.
        window: the tokens of a text, where the graph's caches have slots to spare.

    Raises:
        BundleError: the file is damaged.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, window: int | None = None):
        self._window = window
        name, manifest = "model.tflite", bundle.manifest
        inner = {"model": name, "files": {name: manifest["files"][manifest["model"]]}}
        with scratch() as folder:
            _unpack(bundle.model_path, folder / name)
            super().__init__(Bundle(folder, inner), threads)

    def stepper(self, source: Mapping[str, np.ndarray] | None = None) -> LiteRTStepper:
        """As of every engine; no text reaches the slots to spare."""
        stepper = super().stepper(source)
        stepper.max_length = self._window or stepper.max_length
        return stepper


def check_packed(bundle: Bundle, trust: bool = False) -> None:
    """Return if the graph may be opened in this process; see `runtime.trust.check`.

    Raises:
        BundleError: the file is damaged, or ends the process that tries it.
    """
    check(bundle, "litert-lm-api", "ai-edge-litert", trust)


def _unpack(path: Path, target: Path) -> None:
    begin, left = packed_graph(path)
    with open(path, "rb") as file, open(target, "wb") as copy:
        file.seek(begin)
        while left:
            left -= copy.write(file.read(min(left, _PIECE)))
