"""modelzoo: take a model by name, `fit()` it in Keras, ship it to a device.

    import modelzoo
    model = modelzoo.build("gpt-small", num_layers=6)
    model.fit(modelzoo.dataset(model, "corpus.txt"), epochs=1)
    modelzoo.export(model, "gpt.bundle", format="tflite")

Nothing is imported until it is asked for: `import modelzoo` alone costs a millisecond, and the
device side (`modelzoo.runtime`) never meets Keras.
"""

from __future__ import annotations

import sys

from modelzoo import keras_registration as _keras_registration
from modelzoo.about import VERSION as __version__

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without the import of typing
if TYPE_CHECKING:
    from modelzoo import errors, plugins, recipe, registry, runtime, testing
    from modelzoo.building.build import build
    from modelzoo.building.dataset import dataset
    from modelzoo.building.directory import load, save
    from modelzoo.errors import ModelzooError
    from modelzoo.exporting import export
    from modelzoo.registry import find, names, read_recipe, register
    from modelzoo.training.evaluate import evaluate
    from modelzoo.training.train import train

# name -> the module it lives in.
_HOMES = {
    "ModelzooError": "modelzoo.errors",
    "build": "modelzoo.building.build",
    "dataset": "modelzoo.building.dataset",
    "evaluate": "modelzoo.training.evaluate",
    "export": "modelzoo.exporting",
    "find": "modelzoo.registry",
    "load": "modelzoo.building.directory",
    "names": "modelzoo.registry",
    "read_recipe": "modelzoo.registry",
    "register": "modelzoo.registry",
    "save": "modelzoo.building.directory",
    "train": "modelzoo.training.train",
}
# what other libraries call it -> what it is called here.
_ELSEWHERE = {
    "create_model": "build",
    "finetune": "train",
    "fit": "train",
    "from_pretrained": "build",
    "get_model": "build",
    "list": "names",
    "list_models": "names",
    "list_recipes": "names",
    "load_model": "load",
    "models": "names",
    "save_model": "save",
    "search": "find",
}
_ROOMS = ("errors", "plugins", "recipe", "registry", "runtime", "testing")

__all__ = [
    "ModelzooError",
    "__version__",
    "build",
    "dataset",
    "errors",
    "evaluate",
    "export",
    "find",
    "load",
    "names",
    "plugins",
    "read_recipe",
    "recipe",
    "register",
    "registry",
    "runtime",
    "save",
    "testing",
    "train",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        value = import_module(f"{__name__}.{name}")
    else:
        said = f"module {__name__!r} has no attribute {name!r}"
        if not name.startswith("_"):  # that is what tools ask for, and nobody types
            from modelzoo.errors import nearest

            near = _ELSEWHERE.get(name) or nearest(name, __all__)
            said += f", did you mean: {__name__}.{near}?" if near else ""
        raise AttributeError(said, name=name, obj=None)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Moved:
    """The last finder of all: what plugins of 0.1 import, under its new name."""

    @staticmethod
    def find_spec(name: str, path=None, target=None):
        if not name.startswith("modelzoo."):
            return None
        from modelzoo.plugins import moved

        return moved.find(name)


sys.meta_path.append(_Moved)
_keras_registration.install()
