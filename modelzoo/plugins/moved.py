"""Modules of 0.1 by their old names, for plugins that were written then. Gone in 0.3.

What the contract named and has moved imports with a `DeprecationWarning`. `modelzoo.export` and
`modelzoo.build` are functions, so modules of these names end with an error that says where to look.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["find"]

# old -> new, both below modelzoo
_MOVED = {
    "data.decoding": "data.media_rows",
    "keras_hook": "keras_registration",
    "layers.images": "layers.frontends.images",
    "layers.initial": "layers.dense",
    "layers.lookup": "layers.backend.lookup",
    "layers.mel": "layers.frontends.mel",
    "layers.mel_stem": "layers.frontends.mel_stem",
    "layers.patches": "layers.frontends.patches",
    "layers.projection": "layers.dense",
    "layers.replicas": "layers.backend.replicas",
    "layers.shared_trace": "layers.backend.shared_trace",
    "layers.spectrogram": "layers.frontends.spectrogram",
    "layers.spectrogram_patches": "layers.frontends.spectrogram_patches",
    "layers.swin": "layers.frontends.swin",
    "layers.wave_stem": "layers.frontends.wave_stem",
    "runtime.captioning": "runtime.abilities.captioning",
    "runtime.chat": "runtime.text.chat",
    "runtime.chat_template": "runtime.text.chat_template",
    "runtime.cutting": "runtime.text.cutting",
    "runtime.engine": "runtime.engines.base",
    "runtime.framing": "runtime.text.framing",
    "runtime.images": "runtime.media.images",
    "runtime.litert": "runtime.engines.litert",
    "runtime.media_files": "runtime.media.suffixes",
    "runtime.media_search": "runtime.search.media",
    "runtime.native_log": "runtime.engines.native_log",
    "runtime.prefill": "runtime.generation.prefill",
    "runtime.resampling": "runtime.media.resampling",
    "runtime.resizing": "runtime.media.resizing",
    "runtime.roles": "runtime.text.roles",
    "runtime.sampling": "runtime.generation.sampling",
    "runtime.sandbox": "runtime.text.sandbox",
    "runtime.saved_model": "runtime.engines.saved_model",
    "runtime.session": "runtime.generation.session",
    "runtime.sizes": "runtime.engines.static_shapes",
    "runtime.sounds": "runtime.media.sounds",
    "runtime.token_stream": "runtime.text.token_stream",
    "runtime.tokenizer": "runtime.text.tokenizer",
    "runtime.transcription": "runtime.abilities.transcription",
    "runtime.videos": "runtime.media.videos",
    "runtime.weight_cache": "runtime.engines.weight_cache",
    "tasks.answers": "tasks.shared.text_abilities",
    "tasks.cached_gradients": "tasks.shared.cached_gradients",
    "tasks.chat": "tasks.shared.chat",
    "tasks.decoding": "tasks.shared.step_signatures",
    "tasks.encoding": "tasks.shared.encoder_signatures",
    "tasks.media_answers": "tasks.shared.media_abilities",
    "tasks.retrieval": "tasks.shared.retrieval",
    "tasks.scores": "tasks.shared.scores",
    "tasks.stepper": "tasks.shared.stepper",
}
_ENDED = {
    "build": "modelzoo.build is a function: load and save are modelzoo.load and modelzoo.save, the "
    "modules are in modelzoo.building",
    "export": "modelzoo.export is a function: export_bundle and verify_bundle are in "
    "modelzoo.exporting, modelzoo.export.artifact is modelzoo.exporting.formats.artifact, "
    "modelzoo.export.precision is modelzoo.exporting.quantization.precision, and so on for the "
    "modules in modelzoo.exporting.formats, .quantization and .verification",
}


def find(name: str) -> ModuleSpec | None:
    """The spec of a module that has moved; `None` for any other name.

    Raises:
        ImportError: a module of 0.1 that is a function now, with the names that took its place.
    """
    old = name.removeprefix("modelzoo.")
    if old in _ENDED:
        raise ImportError(f"{_ENDED[old]} (docs/changelog.md)", name=name)
    if old not in _MOVED:
        return None
    return ModuleSpec(name, _Moved(f"modelzoo.{_MOVED[old]}"))


class _Moved(Loader):
    """Gives the module itself under its old name."""

    def __init__(self, new: str):
        self.new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        # Frames of the import system are not counted: this is the line that imports.
        warnings.warn(
            f"{spec.name} is {self.new} since modelzoo 0.2, and goes in 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        module = import_module(self.new)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has just put the old name's there
