"""The device side: run what `modelzoo export` wrote. No Keras, no TensorFlow.

>>> from modelzoo.runtime import load
>>> load("gpt.bundle").generate("In the beginning", max_new_tokens=40)
"""

from __future__ import annotations

import importlib

# Where each public name lives: `modelzoo --help` must not pay for numpy.
_HOMES = {
    "load": "model",
    "Model": "model",
    "Sampling": "sampling",
    "Result": "generation",
    "generate_tokens": "generation",
    "generate_text": "generation",
    "generate_results": "generation",
    "Tokenizer": "tokenizer",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
