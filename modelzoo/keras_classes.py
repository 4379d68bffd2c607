"""Importing this module registers the classes that a `.keras` file of the core may name."""

from importlib import import_module
from pkgutil import iter_modules

from modelzoo import backbones
from modelzoo.registry.components import CORE

MODULES = (
    *(f"{backbones.__name__}.{module.name}" for module in iter_modules(backbones.__path__)),
    *dict.fromkeys(target.partition(":")[0] for target in CORE["tasks"].values()),
    "modelzoo.optimizers.optimizer",
)

for _name in MODULES:
    import_module(_name)
