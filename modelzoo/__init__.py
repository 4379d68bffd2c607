"""modelzoo: take a model by name, `fit()` it in Keras, ship it to a device.

    import modelzoo
    model = modelzoo.build("gpt-small", num_layers=6)
    model.fit(modelzoo.dataset(model, "corpus.txt"), epochs=1)
    modelzoo.export(model, "gpt.bundle", format="tflite")

Nothing is imported until it is asked for: `import modelzoo` alone costs a millisecond, and the
device side (`modelzoo.runtime`) never meets Keras.
"""

from __future__ import annotations

from modelzoo import keras_hook as _keras_hook

__version__ = "0.1.0"

# name -> the module it lives in.
_LAZY = {
    "ModelzooError": "modelzoo.errors",
    "dataset": "modelzoo.build",
    "find": "modelzoo.registry",
    "load": "modelzoo.build",
    "names": "modelzoo.registry",
    "read_recipe": "modelzoo.registry",
    "register": "modelzoo.registry",
    "evaluate": "modelzoo.training.evaluate",
    "save": "modelzoo.build",
    "train": "modelzoo.training.train",
}
# `build` and `export` are called like functions: see callable_module.
_SUBMODULES = ("build", "errors", "export", "plugins", "recipe", "registry", "runtime", "testing")

__all__ = ["__version__", "build", "errors", "export", *_LAZY]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})


_keras_hook.install()
