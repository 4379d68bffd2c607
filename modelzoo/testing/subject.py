"""The model that a check looks at: small, built once, with data that its task can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo import registry
from modelzoo.errors import ModelzooError
from modelzoo.plugins import Plugin
from modelzoo.recipe import Recipe, from_values
from modelzoo.recipe.schema import arguments, validate_against
from modelzoo.testing.check import NotApplicable, not_applicable
from modelzoo.testing.examples import guessed, is_text
from modelzoo.testing.seeds import kept_seeds

if TYPE_CHECKING:
    import keras

BATCH = 4
LENGTH = 24

# What makes a model of any family small, in the words that all share. No recipe needs all of them.
_SMALL = {
    "vocab_size": 600,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "hidden_dim": 32,
    "embedding_dim": 32,
    "num_heads": 2,
    "num_kv_heads": 1,
    "head_dim": 16,
    "ffn_dim": 64,
    "max_length": 64,
}


@dataclass(eq=False)
class Subject:
    """One recipe of a plugin, or one of its architectures with default values.

    Attributes:
        name: of the recipe or architecture.
        recipe: as it stands in the file; `None` for an architecture.
        tiny, data, project, limit: see `plugin_checks`.
    """

    name: str
    recipe: Recipe | None
    plugin: Plugin
    tiny: Mapping[str, Mapping[str, object]]
    data: Mapping[str, object]
    project: str | os.PathLike | None
    limit: int

    # === The recipe that is built ===

    @cached_property
    def small(self) -> Recipe:
        """The recipe with few enough parameters.

        Raises:
            NotApplicable: it stays too large, and only its author knows how to cut it.
        """
        recipe = self.recipe or from_values({"architecture": self.name}, name=self.name)
        given = self.tiny.get(self.name, self.tiny.get(recipe.architecture))
        if given is not None:
            recipe = registry.recipe(recipe, given)
            return self._small_enough(recipe, self._count(recipe))
        stated = recipe.parameters
        if stated is None and recipe.task is not None:
            stated = self._count(recipe)
        if stated is not None and stated <= self.limit:
            return recipe
        schema = arguments(registry.architecture(recipe.architecture))
        cut = {key: value for key, value in _SMALL.items() if key in schema}
        recipe = registry.recipe(recipe, cut)
        if stated is None:  # nobody says that it is large: an error of it is its own
            return self._small_enough(recipe, self._count(recipe))
        if not cut:
            return self._small_enough(recipe, stated)
        try:
            stated = self._count(recipe)
        except ModelzooError as error:
            raise NotApplicable(
                f"{self.name} is over the limit of {self.limit:,} parameters, and does not build "
                f"with {cut} ({error.what}): {self._way_on()}"
            ) from error
        return self._small_enough(recipe, stated)

    def _small_enough(self, recipe: Recipe, parameters: int) -> Recipe:
        if parameters > self.limit:
            not_applicable(
                f"{self.name} has {parameters:,} parameters, over the limit of {self.limit:,}: "
                + self._way_on()
            )
        return recipe

    def _way_on(self) -> str:
        return f"pass plugin_checks(..., tiny={{{self.name!r}: {{'num_layers': 1}}}})"

    def _count(self, recipe: Recipe) -> int:
        """Without the memory of its weights, where there is a task."""
        from modelzoo.building.counting import count_parameters

        if recipe.task is None:
            return self._architecture(recipe).count_params()
        return count_parameters(recipe)

    # === The model ===

    def built(self, seed: int = 0) -> keras.Model:
        """A fresh model, compiled where its recipe names a task."""
        import keras

        from modelzoo.building.build import build

        small = self.small  # which may build it to count it, and draws meanwhile
        with kept_seeds():
            keras.utils.set_random_seed(seed)
            if small.task is None:
                return self._architecture(small)
            return build(registry.recipe(small, {"train.warmup_steps": 0}))

    def _architecture(self, recipe: Recipe) -> keras.Model:
        build = registry.architecture(recipe.architecture)
        return build(**validate_against(recipe, build))

    @cached_property
    def _model(self) -> keras.Model | Exception:
        try:
            return self.built()
        except NotApplicable:
            raise
        except (Exception, SystemExit) as error:
            return error

    @property
    def model(self) -> keras.Model:
        """The model that all checks share: leave its weights as they are.

        Raises:
            NotApplicable: it does not build, which the check `build` reports.
        """
        if isinstance(self._model, BaseException):
            not_applicable(f"it does not build: see build:{self.name}")
        return self._model

    # === Its data ===

    @cached_property
    def task(self) -> Any:
        """The task of the recipe, or `None`."""
        from modelzoo.registry.of_recipe import task_of

        return None if self.small.task is None else task_of(self.small)

    def batch(self) -> tuple:
        """(x, y, sample_weight) as `fit` is given it, numpy arrays.

        Raises:
            NotApplicable: there is no data that this task is known to read.
        """
        return self._batch

    @cached_property
    def _batch(self) -> tuple:
        from modelzoo.building.dataset import dataset

        model = self.model
        if self.task is None:
            return self._bare_inputs(model), None, None
        raw, ours = self._raw()
        longest = getattr(getattr(model, "backbone", None), "max_length", None)
        length = min(LENGTH, 3 * longest // 4) if longest else LENGTH
        try:
            with kept_seeds():
                batches = dataset(model, raw, batch_size=BATCH, length=max(1, length))
                batch = batches[0]
        except ModelzooError as error:
            if not ours or is_text(self.task.fields):
                raise
            raise NotApplicable(
                f"the task {self.task.name} does not read what the kit makes up for its fields "
                f"({error.what}): give it a method sample_data(), or pass data={{{self.name!r}: "
                "[...]}"
            ) from error
        return (*batch, None, None)[:3]

    def _raw(self) -> tuple[object, bool]:
        """Raw examples, and whether they are the kit's own guess."""
        for key in (self.name, self.small.task):
            if key in self.data:
                return self.data[key], False
        if hasattr(self.task, "sample_data"):
            return self.task.sample_data(), False
        raw = guessed(self.task, self.model)
        if raw is None:
            not_applicable(
                f"the kit does not know what data the task {self.task.name} reads: give it a "
                f"method sample_data(), or pass plugin_checks(..., data={{{self.name!r}: [...]}})"
            )
        return raw, True

    def _bare_inputs(self, model) -> object:
        """Seeded numbers for the inputs of a functional model, or token ids for a text backbone."""
        import numpy as np

        rng = np.random.default_rng(0)
        if getattr(model, "vocab_size", None):
            length = min(LENGTH, 3 * (model.max_length or LENGTH) // 4)
            ids = rng.integers(0, model.vocab_size, (BATCH, max(1, length))).astype("int32")
            return {"token_ids": ids, "padding_mask": np.ones(ids.shape, bool)}
        try:
            inputs = model.inputs
        except AttributeError:
            inputs = None
        if not inputs:
            not_applicable(
                f"{self.name} has no task, and its model does not say what it reads: a "
                "functional keras.Model does, and a recipe with a task"
            )
        sizes = (BATCH, *[LENGTH] * 8)
        arrays = {}
        for tensor in inputs:
            shape = [size or sizes[axis] for axis, size in enumerate(tensor.shape)]
            whole = "int" in tensor.dtype or "bool" in tensor.dtype
            value = rng.integers(0, 2, shape) if whole else rng.normal(0, 1, shape)
            arrays[tensor.name] = value.astype(tensor.dtype)
        structure = model._inputs_struct
        if isinstance(structure, dict):
            return {key: arrays[tensor.name] for key, tensor in structure.items()}
        return next(iter(arrays.values())) if len(arrays) == 1 else list(arrays.values())

    # === Where it is written ===

    def saved(self, folder: Path) -> Path:
        """The shared model as a model directory, with its task's tokenizer where it has one."""
        from modelzoo.building.directory import save

        if self.task is None:
            self.model.save(folder / "model.keras")
            return folder / "model.keras"
        try:
            self.batch()  # gives it a tokenizer
        except NotApplicable:
            pass
        return save(self.model, folder / "model")
