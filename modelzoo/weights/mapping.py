"""A model's weights and a table's rules, side by side: what reading and writing share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelzoo import registry
from modelzoo.recipe import Recipe, validate_against
from modelzoo.schema import defaults
from modelzoo.weights.table import Rule

if TYPE_CHECKING:
    import keras


def model_values(recipe: Recipe) -> dict[str, object]:
    """All `[model]` values of a recipe, its architecture's defaults among them."""
    architecture = registry.architecture(recipe.architecture)
    values = {**defaults(architecture), **validate_against(recipe, architecture)}
    heads, width = values.get("num_heads"), values.get("hidden_dim")
    # What a default leaves to be worked out, worked out, so that two recipes can be compared.
    if "num_kv_heads" in values:
        values["num_kv_heads"] = values["num_kv_heads"] or heads
    if "head_dim" in values:
        values["head_dim"] = values["head_dim"] or width // heads
    if "ffn_dim" in values:
        values["ffn_dim"] = values["ffn_dim"] or 4 * width
    if "num_decoder_layers" in values:
        values["num_decoder_layers"] = values["num_decoder_layers"] or values["num_layers"]
    if "attention_scale" in values:
        values["attention_scale"] = values["attention_scale"] or values["head_dim"] ** -0.5
    if values.get("scale_logits", ...) is None:
        values["scale_logits"] = values["tie_embeddings"]
    if values.get("attention_output_bias", ...) is None:
        values["attention_output_bias"] = values["attention_bias"]
    if values.get("rotary_local_theta", ...) is None:
        values["rotary_local_theta"] = values["rotary_theta"]
    return values


def weights_by_path(model) -> dict[str, keras.Variable]:
    """Path -> weight, as rules name them; the backbone's without its own name. No seeds."""
    found: dict[str, keras.Variable] = {}
    for weight in model.weights:
        path = weight.path.partition("/")[2]
        if "seed_generator" in path:
            continue
        if path in found:
            raise ValueError(f"two weights are called {path}")
        found[path] = weight
    return found


def rules_for(rules: Sequence[Rule], weights: Mapping) -> list[Rule]:
    """The rules whose weights this model has; it has all or none of a rule's."""
    return [rule for rule in rules if all(path in weights for path in rule.ours)]


def shape_of(rule: Rule, weights: Mapping) -> tuple[int, ...]:
    """The shape that a rule's tensor has in a checkpoint."""
    shapes = [tuple(weights[path].shape) for path in rule.ours]
    shape = (*shapes[0][:-1], sum(shape[-1] for shape in shapes))
    return shape[::-1] if rule.transpose else shape


def to_ours(rule: Rule, array: np.ndarray, weights: Mapping) -> list[np.ndarray]:
    """A checkpoint's tensor as the values of the rule's weights."""
    array = array.T if rule.transpose else array
    ends = np.cumsum([weights[path].shape[-1] for path in rule.ours])[:-1]
    return np.split(array, ends, axis=-1)


def to_theirs(rule: Rule, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The values of a rule's weights as the checkpoint's tensor."""
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)
    return np.ascontiguousarray(array.T if rule.transpose else array)
