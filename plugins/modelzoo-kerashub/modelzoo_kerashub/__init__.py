"""KerasHub in the model zoo: its backbones, tasks and presets as `kerashub/...` recipes.

    modelzoo build kerashub/bert_tiny_en_uncased -o bert
    modelzoo build kerashub/ViTBackbone --set num_layers=4 -o vit
    modelzoo build kerashub/gpt2_base_en -o gpt2       # KerasHub's weights, with a cache

Nothing heavy is imported here. `carry` turns a decoder of KerasHub's into one of the zoo's core.
"""

from __future__ import annotations

__all__ = ["carry"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name != "carry":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)
    from importlib import import_module

    return import_module(f"{__name__}.carrying").carry
