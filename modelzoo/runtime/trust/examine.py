"""Read a model's file without running it, then run it in a child process."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

from modelzoo import child_process
from modelzoo.errors import BundleError
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.trust.saved_model import check_saved_model
from modelzoo.runtime.trust.tflite import check_litertlm, check_tflite

__all__ = ["examine"]

_CHECKS: dict[str, Callable[[Path], None]] = {
    "litert": check_tflite,
    "litert-lm-api": check_litertlm,
    "saved_model": check_saved_model,
}
SECONDS, BYTES_A_SECOND = 60.0, 10e6  # for a trial, and more for a larger model
_TRUST = "open it only if you trust who made it: --trust (trust=True in Python)"


def examine(bundle: Bundle, engine: str) -> None:
    """Return if the model of a bundle passes every check of its engine.

    Raises:
        BundleError: the file is damaged, does more than compute, or ends the process that tries it.
        MissingDependencyError: the engine is not installed.
    """
    _CHECKS[engine](bundle.model_path)
    _try(bundle, engine)


def _try(bundle: Bundle, engine: str) -> None:
    """Load the model and run it in a child, so that its crash is an error here."""
    path = bundle.model_path
    files = path.rglob("*") if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    job = {"directory": str(bundle.directory), "manifest": bundle.manifest, "engine": engine}
    seconds = SECONDS + size / BYTES_A_SECOND
    module = "modelzoo.runtime.trust.trial"
    job |= {"seconds": seconds, "bytes": size}
    try:
        ended = child_process.run(module, input=json.dumps(job).encode(), timeout=seconds)
    except TimeoutError:
        raise BundleError(
            f"the model did not come to an end within {seconds:.0f} s, when it was tried",
            where=path,
            next_step=_TRUST,
        ) from None
    if ended.code:
        raise BundleError(
            f"the model {_how(ended)}, when it was tried in a process of its own",
            where=path,
            next_step=f"copy the bundle again, or export it again; {_TRUST}",
        )
    said = json.loads(ended.answer)
    if said is not None:
        raise BundleError(said["what"], where=path, next_step=said["next_step"])


def _how(ended: child_process.Ended) -> str:
    if ended.code < 0:
        try:
            return f"crashes ({signal.Signals(-ended.code).name})"
        except ValueError:
            return f"crashes (signal {-ended.code})"
    return f"fails ({ended.last_words[:200] or f'exit code {ended.code}'})"
