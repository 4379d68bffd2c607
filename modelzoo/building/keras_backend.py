"""Keras, imported on the backend that is installed."""

from __future__ import annotations

import os
from types import ModuleType

from modelzoo.errors import require
from modelzoo.runtime.engines.native_log import quiet_tensorflow


def need_keras() -> ModuleType:
    """Keras, on JAX where that is installed and TensorFlow is not and nobody chose a backend."""
    from importlib.util import find_spec

    if "KERAS_BACKEND" not in os.environ and find_spec("tensorflow") is None and find_spec("jax"):
        os.environ["KERAS_BACKEND"] = "jax"
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    with quiet_tensorflow():
        if backend in ("tensorflow", "jax"):
            require(backend, backend)
        return require("keras", "tensorflow")
