"""The engine of a bundle's format."""

from __future__ import annotations

from modelzoo.errors import BundleError, ModelzooError, nearest

FORMATS = ("tflite", "savedmodel")


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
        from modelzoo.runtime.engines.litert import LiteRTEngine as Engine
    elif kind == "savedmodel":
        from modelzoo.runtime.engines.saved_model import SavedModelEngine as Engine
    elif kind == "litertlm":
        raise BundleError(
            "LiteRT-LM runs a .litertlm bundle, and modelzoo's runtime does not",
            where=bundle.directory,
            next_step="pip install litert-lm-api (the bundle's README.md has the code); or export "
            "with --format tflite",
        )
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
