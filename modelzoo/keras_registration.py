"""`import modelzoo` is enough for `keras.saving.load_model` to know our classes.

Keras finds a class of a file only if its module has been imported before. Importing ours would
import Keras, which takes seconds and which listing and the device side never need. So the classes
are registered when Keras itself is imported, before or after us. Imported after us it is quiet:
TensorFlow's notes to its developers stay off a user's screen.

A plugin does the same for its own with one line in its package: `install("modelzoo_acme.models")`.
"""

from __future__ import annotations

import sys

REGISTERS = "modelzoo.keras_classes"


def install(module: str = REGISTERS) -> None:
    """Register classes now if Keras is there, else as soon as it is.

    Args:
        module: importing it registers them. Default: the core's.
    """
    if hasattr(sys.modules.get("keras"), "saving"):  # there, and not half-way there
        _register(module)
    elif not any(isinstance(f, _AfterKeras) and f.module == module for f in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras(module))


class _AfterKeras:
    """Lets the real finders find `keras`, and adds one step after it has run. Then it is gone."""

    def __init__(self, module: str):
        self.module = module
        self.asking = False  # the others, who ask us too

    def find_spec(self, name, path=None, target=None):
        if name != "keras" or self.asking:
            return None
        from importlib.util import find_spec  # here, for `import modelzoo` imports nothing

        self.asking = True
        try:
            spec = find_spec("keras")
        finally:
            self.asking = False
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module):
            from modelzoo.runtime.engines.native_log import quiet_tensorflow

            if self in sys.meta_path:
                sys.meta_path.remove(self)
            with quiet_tensorflow():
                execute(module)
            _register(self.module)

        spec.loader.exec_module = execute_and_register
        return spec


def _register(module: str) -> None:
    from importlib import import_module

    import_module(module)
