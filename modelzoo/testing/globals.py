"""What belongs to the user and not to a plugin: is it after an import what it was before?

Runs in a fresh process; see `fresh`.
"""

from __future__ import annotations

import io
import logging
import os
import random
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec

__all__ = ["importing"]

_LOGGERS = ("", "absl", "keras", "modelzoo", "tensorflow")


def importing(namespace: str, builds: Sequence[dict]) -> dict:
    """Import all that a plugin brings, then build its small models twice.

    Args:
        builds: {"architecture", "arguments"} of each.

    Returns:
        `changed`: of the import, {what: [before, after]}; `printed`: its text; `built`: the same
        as `changed` of the builds; `seeded`: the architectures that set the global seed.
    """
    import keras
    import numpy as np

    from modelzoo import plugins
    from modelzoo.building.keras_backend import need_keras
    from modelzoo.plugins.probe import import_all

    need_keras()
    for library in ("tensorflow", "modelzoo.keras_classes"):
        if find_spec(library) is not None:  # what these change is theirs, whoever imports them
            import_module(library)
    before, text = _snapshot(), io.StringIO()
    with redirect_stdout(text):
        import_all(namespace)
    after = _snapshot()
    found = {"changed": _changes(before, after), "printed": text.getvalue(), "seeded": []}
    numbers = ("random numbers of python", "random numbers of numpy")
    for one in builds:
        states = []
        for seed in (1, 2):
            keras.utils.set_random_seed(seed)
            plugins.load("architectures", one["architecture"])(**_arguments(one))
            states.append((random.random(), float(np.random.random())))
        if states[0][0] == states[1][0] or states[0][1] == states[1][1]:
            found["seeded"].append(one["architecture"])
    built = _changes(after, _snapshot())
    found["built"] = {key: value for key, value in built.items() if key not in numbers}
    return found


def _arguments(one: dict) -> dict:
    from modelzoo import registry
    from modelzoo.recipe import from_values
    from modelzoo.recipe.schema import validate_against

    recipe = from_values(
        {"architecture": one["architecture"], "model": one["model"]}, name=one["architecture"]
    )
    return validate_against(recipe, registry.architecture(one["architecture"]))


def _snapshot() -> dict[str, str]:
    """What a user may have set, each as text."""
    import keras
    import numpy as np

    found = {
        "Keras' dtype policy": keras.config.dtype_policy().name,
        "Keras' floatx": keras.config.floatx(),
        "Keras' epsilon": repr(keras.config.epsilon()),
        "Keras' image_data_format": keras.config.image_data_format(),
        "Keras' interactive logging": keras.config.is_interactive_logging_enabled(),
        "Keras' traceback filtering": keras.config.is_traceback_filtering_enabled(),
        "random numbers of python": hash(random.getstate()),
        "random numbers of numpy": hash(np.random.get_state()[1].tobytes()),
        "numpy's handling of errors": repr(np.geterr()),
        "the working directory": os.getcwd(),
        "sys.path": repr(sys.path),
        "sys.excepthook": sys.excepthook.__qualname__,
        "the recursion limit": sys.getrecursionlimit(),
        "the filters of warnings": len(warnings.filters),
    }
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        title = f"the logger {name}" if name else "the root logger"
        found[f"{title}: level"] = logging.getLevelName(logger.level)
        found[f"{title}: handlers"] = len(logger.handlers)
    if "tensorflow" in sys.modules:
        config = sys.modules["tensorflow"].config
        found["TensorFlow's eager functions"] = config.functions_run_eagerly()
    found.update({f"the environment variable {k}": v for k, v in os.environ.items()})
    return {key: str(value) for key, value in found.items()}


def _changes(before: dict, after: dict) -> dict[str, list]:
    keys = sorted({*before, *after})
    return {k: [before.get(k), after.get(k)] for k in keys if before.get(k) != after.get(k)}
