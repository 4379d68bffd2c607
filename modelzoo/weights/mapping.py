"""A model's weights and a table's rules, side by side: what reading and writing share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from modelzoo import registry
from modelzoo.errors import WeightsError
from modelzoo.recipe import Recipe
from modelzoo.recipe.composition import parts_of
from modelzoo.recipe.experts import ExpertsConfig
from modelzoo.recipe.schema import defaults, validate_against
from modelzoo.weights.table import Rule
from modelzoo.weights.tables.shared.rotary import shortest_period

# How a model is trained, how much of it is used, and how its inputs are cut; the weights are the
# same.
FREE = (
    "balance_loss",
    "capacity",
    "jitter",
    "z_loss",
    "attention_dropout",
    "dropout",
    "initializer_range",
    "num_samples",
    "pooler",
    "resize_to",
)

if TYPE_CHECKING:
    import keras


def model_values(recipe: Recipe) -> dict[str, Any]:
    """All `[model]` values of a recipe, its architecture's defaults among them.

    Those of a part stand under its name: `image.model.hidden_dim`.
    """
    values = _completed(recipe)
    for name, table in parts_of(recipe.values):
        del values[name]
        of_part = {"architecture": table["architecture"], "model": table.get("model", {})}
        part = _completed(Recipe(f"model.{name}", of_part, recipe.source))
        values.update({f"{name}.model.{key}": value for key, value in part.items()})
        # Not whether it is trained, nor what it began with.
        skipped = ("model", "of", "weights", "frozen")
        values.update({f"{name}.{key}": v for key, v in table.items() if key not in skipped})
    return values


def _completed(recipe: Recipe) -> dict[str, Any]:
    architecture = registry.architecture(recipe.architecture)
    return _worked_out({**defaults(architecture), **validate_against(recipe, architecture)})


def _worked_out(values: dict[str, Any]) -> dict[str, Any]:
    """With what a default leaves to be worked out, so that two recipes can be compared."""
    if "num_kv_heads" in values:
        values["num_kv_heads"] = values["num_kv_heads"] or values.get("num_heads")
    if "head_dim" in values:
        values["head_dim"] = values["head_dim"] or values["hidden_dim"] // values["num_heads"]
    if "ffn_dim" in values:
        values["ffn_dim"] = values["ffn_dim"] or 4 * values["hidden_dim"]
    if "num_decoder_layers" in values:
        values["num_decoder_layers"] = values["num_decoder_layers"] or values["num_layers"]
    if "attention_scale" in values:
        values["attention_scale"] = values["attention_scale"] or values["head_dim"] ** -0.5
    if "experts" in values:
        values |= _of_experts(values)
    if values.get("qk_norm_bias", ...) is None:
        values["qk_norm_bias"] = values["norm_bias"]
    if values.get("final_norm", ...) is None:
        values["final_norm"] = values["norm_position"] != "post"
    if values.get("scale_logits", ...) is None:
        values["scale_logits"] = values["tie_embeddings"]
    for key in ("attention_output_bias", "attention_key_bias"):
        if values.get(key, ...) is None:
            values[key] = values["attention_bias"]
    # Local layers that have no base of their own share the scaling too.
    if values.get("rotary_local_theta", ...) is None and not values.get("rotary_scaling"):
        values["rotary_local_theta"] = values["rotary_theta"]
    return values


def _of_experts(values: Mapping) -> dict[str, Any]:
    """The table `experts` with its defaults, and its keys by themselves: `experts.count`."""
    if values["experts"] is None:
        return dict.fromkeys(f"experts.{field.name}" for field in fields(ExpertsConfig))
    table = asdict(ExpertsConfig.of(values["experts"]))
    table["ffn_dim"] = table["ffn_dim"] or values["ffn_dim"]
    layers = range(values["num_layers"])
    pattern = [table["pattern"][i % len(table["pattern"])] for i in layers]
    table["pattern"] = shortest_period(pattern)
    return {"experts": table, **{f"experts.{key}": value for key, value in table.items()}}


def unsaid(architecture: str, values: Mapping, said: Iterable[str]) -> dict[str, Any]:
    """What the keys that a table does not say mean for it: the architecture's defaults.

    Args:
        values: a recipe's, of `model_values`; keys of parts are left out.
        said: the keys that the table says.

    Returns: key -> what a model of the table has, for the keys whose value here is another; nothing
        of a plugin's architecture, whose keys need not be of what the model computes.
    """
    usual = {} if "/" in architecture else defaults(registry.architecture(architecture))
    rest = {
        key: value
        for key, value in usual.items()
        if key in values and key not in {*said, *FREE} and not key.startswith("initial")
    }
    theirs = _worked_out({**values, **rest})
    return {key: theirs[key] for key in rest if theirs[key] != values[key]}


def weights_by_path(model) -> dict[str, keras.Variable]:
    """Path -> weight, as rules name them; the backbone's without its own name. No seeds.

    A part's begin with its name: `image/stack/block_0/ffn/up/kernel`.
    """
    from modelzoo.tasks.shared.saved_state import is_functional

    found: dict[str, keras.Variable] = {}
    # Layers of a functional model do not have its name before theirs.
    bare = {id(w) for w in model.backbone.weights} if is_functional(model.backbone) else ()
    names = [] if model.recipe is None else [name for name, _ in parts_of(model.recipe.values)]
    owner = {id(w): name for name in names for w in getattr(model.backbone, name).weights}
    for weight in model.weights:
        path = weight.path if id(weight) in bare else weight.path.partition("/")[2]
        if id(weight) in owner:
            path = f"{owner[id(weight)]}/{path}"
        if "seed_generator" in path or "/lora_" in path:  # the kernel's own: see `write`
            continue
        if path in found:
            raise ValueError(f"two weights are called {path}")
        found[path] = weight
    return found


def rules_for(rules: Sequence[Rule], weights: Mapping) -> list[Rule]:
    """The rules whose weights this model has; it has all or none of a rule's."""
    return [rule for rule in rules if all(path in weights for path in rule.ours)]


def shape_of(rule: Rule, weights: Mapping) -> tuple[int, ...]:
    """The shape that each of a rule's tensors has in a checkpoint."""
    shapes: list[tuple[int, ...]] = [tuple(weights[path].shape) for path in rule.ours]
    # A scalar has no last axis.
    shape: tuple[int, ...] = ()
    if shapes[0]:
        shape = (*shapes[0][:-1], sum(one[-1] for one in shapes))
    shape = _channels(shape) if rule.depthwise else shape
    order: list[int] = np.argsort(_axes(rule, len(shape))).tolist()
    theirs = tuple(shape[axis] for axis in order)
    return (1,) * rule.ones + (theirs[1:] if rule.stacked else theirs)


def joined(rule: Rule, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """A rule's tensors as the one that `to_ours` takes: their sum, or one above the other."""
    return np.stack(arrays) if rule.stacked else sum(arrays[1:], arrays[0])


def parted(rule: Rule, array: np.ndarray) -> list[np.ndarray]:
    """What `to_theirs` gives as the rule's tensors."""
    return list(array) if rule.stacked else [array, *(np.zeros_like(array) for _ in rule.plus)]


def to_ours(rule: Rule, array: np.ndarray, weights: Mapping) -> list[np.ndarray]:
    """A checkpoint's tensor as the values of the rule's weights."""
    array = array.reshape(array.shape[rule.ones :])
    array = array.transpose(_axes(rule, array.ndim))
    if rule.depthwise:
        array = array.reshape(weights[rule.ours[0]].shape)
    if len(rule.ours) == 1:
        return _turned(rule, [array], rule.order)
    lead, widths = array.shape[:-1], [weights[path].shape[-1] for path in rule.ours]
    ends = np.cumsum(widths)[:-1] // rule.groups
    parts = np.split(array.reshape(*lead, rule.groups, -1), ends, axis=-1)
    return _turned(rule, [part.reshape(*lead, -1) for part in parts], rule.order)


def to_theirs(rule: Rule, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The values of a rule's weights as the checkpoint's tensor."""
    arrays = _turned(rule, arrays, np.argsort(rule.order).tolist())
    array = arrays[0]
    if len(arrays) > 1:
        lead = array.shape[:-1]
        groups = [part.reshape(*lead, rule.groups, -1) for part in arrays]
        array = np.concatenate(groups, axis=-1).reshape(*lead, -1)
    array = array.reshape(_channels(array.shape)) if rule.depthwise else array
    array = array.transpose(np.argsort(_axes(rule, array.ndim)))
    # Not what numpy calls contiguous before the axes: it makes a vector of a scalar.
    return np.ascontiguousarray(array).reshape((1,) * rule.ones + array.shape)


def _turned(rule: Rule, arrays: Sequence[np.ndarray], order: Sequence[int]) -> list[np.ndarray]:
    """The rule's weights, with the numbers of each head that turns in another order."""
    if not rule.order:
        return list(arrays)
    return [
        array.reshape(*array.shape[:-1], -1, len(order))[..., order].reshape(array.shape)
        if rule.paired or place in rule.partial
        else array
        for place, array in enumerate(arrays)
    ]


def _axes(rule: Rule, count: int) -> Sequence[int]:
    """The order of their axes in ours."""
    if rule.axes is not None and len(rule.axes) == count:
        return rule.axes
    if rule.axes is not None:
        raise WeightsError(
            f"a rule says how {len(rule.axes)} axes of {rule.theirs} are ordered, and "
            f"{rule.ours[0]} has {count}",
            next_step="conv() and depthwise() take dims, the number of axes of space",
        )
    first = bool(rule.stacked)  # the axis of the heads or experts stays
    turned = range(first, count)[::-1] if rule.transpose else range(first, count)
    return *range(first), *turned


def _channels(shape: Sequence[int]) -> tuple[int, ...]:
    """(..., C, M) -> (..., C * M, 1)."""
    return (*shape[:-2], shape[-2] * shape[-1], 1)


def check_convolutions(model, rules: Sequence[Rule]) -> None:
    """Refuse rules that turn all axes of a convolution round: a square one would fit, and be wrong.

    Raises:
        WeightsError: which rule, and the helper to use.
    """
    from keras import layers

    kinds = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D)
    kinds = (*kinds, layers.Conv3D, layers.Conv3DTranspose)
    turned = {path: rule for rule in rules if rule.transpose for path in rule.ours}
    kernels = {
        id(weight): type(layer).__name__
        for layer in model._flatten_layers()
        if isinstance(layer, kinds)
        for weight in layer.weights
        if len(weight.shape) > 3
    }
    for path, weight in weights_by_path(model).items():
        if path in turned and id(weight) in kernels:
            kind = kernels[id(weight)]
            raise WeightsError(
                f"the table's rule for {turned[path].theirs} turns all axes round, and {path} is "
                f"a {kind}'s kernel: height and width would change places",
                next_step="modelzoo.weights.table.conv() and depthwise() make the rules of one",
            )
