"""The device side: run what `modelzoo export` wrote. No Keras, no TensorFlow.

>>> from modelzoo.runtime import load
>>> load("gpt.bundle").generate("In the beginning", max_new_tokens=40)
' God created heaven'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelzoo.runtime.generation.loop import (
        Result,
        generate_results,
        generate_text,
        generate_tokens,
    )
    from modelzoo.runtime.generation.reader import Reader, State
    from modelzoo.runtime.generation.sampling import Sampling
    from modelzoo.runtime.model import Model, load
    from modelzoo.runtime.text.tokenizer import Tokenizer

# Where each public name lives: `modelzoo --help` must not pay for numpy.
_HOMES = {
    "load": "model",
    "Model": "model",
    "Sampling": "generation.sampling",
    "Result": "generation.loop",
    "Reader": "generation.reader",
    "State": "generation.reader",
    "generate_tokens": "generation.loop",
    "generate_text": "generation.loop",
    "generate_results": "generation.loop",
    "Tokenizer": "text.tokenizer",
}

__all__ = [
    "Model",
    "Reader",
    "Result",
    "Sampling",
    "State",
    "Tokenizer",
    "generate_results",
    "generate_text",
    "generate_tokens",
    "load",
]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


def moved(package: str, module: str, name: str) -> object:
    """A name of the module that `package` was in 0.1. Goes in 0.3.

    Args:
        package: `modelzoo.runtime.media`, which has become a folder.
        module: where the names of that module are now.
    """
    if name.startswith("_"):
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        found = getattr(importlib.import_module(module), name)
    except AttributeError:
        raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
    import warnings

    warnings.warn(
        f"{package}.{name} is {module}.{name} since modelzoo 0.2, and goes in 0.3",
        DeprecationWarning,
        stacklevel=3,
    )
    return found
