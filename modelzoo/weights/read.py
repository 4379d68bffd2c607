"""From a checkpoint's tensors to a Keras model's weights, one tensor at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelzoo.errors import WeightsError, nearest
from modelzoo.weights.checkpoint import Checkpoint, Tensor
from modelzoo.weights.derive import keys_of_task, table_of, with_prefix
from modelzoo.weights.lookup import tables_of
from modelzoo.weights.mapping import (
    FREE,
    check_convolutions,
    joined,
    model_values,
    rules_for,
    shape_of,
    to_ours,
    unsaid,
    weights_by_path,
)
from modelzoo.weights.position_grids import fit_grids
from modelzoo.weights.table import Head, Rule, Table
from modelzoo.weights.tables import TABLES

_FREE = {*FREE, "max_length", "image_size"}
_OLD = ((".gamma", ".weight"), (".beta", ".bias"))  # names of norms before 2019
_BATCHES = r".*\.num_batches_tracked"  # of a batch norm: how many it has seen
_NAMED = 12  # tensors that an error lists


@dataclass(frozen=True)
class Loaded:
    """What reading did.

    Attributes:
        fresh: weights of the task's head that the checkpoint has nothing for: random still.
        left_out: tensors of the checkpoint that this model has no place for: another task's head.
    """

    fresh: tuple[str, ...]
    left_out: tuple[str, ...]


def read_weights(model, checkpoint: Checkpoint) -> Loaded:
    """Give a model the weights of a checkpoint.

    Everything is checked before the first weight changes: names, shapes, number formats, and where
    there is a `config.json`, that it means the model's own recipe.

    Raises:
        WeightsError: what is missing, unexpected or of another shape, all of it by name.
    """
    recipe, weights = model.recipe, weights_by_path(model)
    values = model_values(recipe)
    table = _table_for(recipe.architecture, values, checkpoint)
    head = table.heads.get(recipe.task, Head(()))
    tensors = _canonical(checkpoint, table)
    if checkpoint.config:
        _check_values(table, checkpoint, frozenset(tensors), values, recipe.name)

    rules = rules_for(table.all_rules(recipe.task, values), weights)
    check_convolutions(model, rules)
    present = [rule for rule in rules if rule.theirs in tensors]
    fresh = _fresh(model, weights, rules, tensors)
    for name, array in table.derived(values).items():
        if name in tensors:
            _check_derived(checkpoint.where, name, tensors.pop(name), array)
    _check_names(checkpoint.where, table, weights, rules, tensors, head, fresh)
    tensors = fit_grids(present, tensors, values, weights)
    _check_shapes(checkpoint.where, present, tensors, weights)
    for rule in present:
        array = joined(rule, [tensors[name].read() for name in rule.tensors])
        for path, part in zip(rule.ours, to_ours(rule, array, weights), strict=True):
            weights[path].assign(np.asarray(part, "float32"))
    used = {name for rule in present for name in rule.tensors}
    left_out = [
        name
        for name in tensors
        if name not in used and name not in head.copies and not _is_ignored(name, table)
    ]
    return Loaded(tuple(fresh), tuple(left_out))


def _table_for(architecture: str, values: Mapping, checkpoint: Checkpoint) -> Table:
    if checkpoint.config.get("model_type") is not None:
        table = table_of(checkpoint)
        if table.architecture != architecture:
            raise WeightsError(
                f"{checkpoint.config['model_type']} is the architecture {table.architecture}, "
                f"and the recipe's is {architecture}",
                where=checkpoint.where,
                next_step="modelzoo build SOURCE takes the recipe from the checkpoint",
            )
        return table
    # No configuration: of the tables that can say the recipe, the one whose names these are.
    tables = tables_of(architecture)
    fitting = [
        table
        for table in tables
        if table.can_say(values) and not unsaid(architecture, values, table.said(values))
    ]
    if not tables:
        raise WeightsError(
            f"weights for the architecture {architecture} are read from model directories only",
            where=checkpoint.where,
            next_step=f"checkpoints are read for {', '.join(sorted(_architectures()))}",
        )

    def known(table: Table) -> int:
        names = with_prefix(checkpoint.tensors, table).values()
        patterns = [_pattern(rule.theirs) for rule in _every_rule(table)]
        return sum(any(pattern.fullmatch(name) for pattern in patterns) for name in names)

    return max(fitting or tables, key=known)


def _architectures() -> set[str]:
    return {table.architecture for table in TABLES.values()}


def _every_rule(table: Table) -> list[Rule]:
    heads = [rule for head in table.heads.values() for rule in head.rules]
    parts = [rule for each in table.part_rules.values() for rule in each]
    return [*table.rules, *table.layer_rules, *table.decoder_rules, *parts, *heads]


def _pattern(name: str) -> re.Pattern:
    return re.compile(re.sub(r"\\{[ih]\\}", r"\\d+", re.escape(name)))


def _canonical(checkpoint: Checkpoint, table: Table) -> dict[str, Tensor]:
    """The checkpoint's tensors under the table's names."""
    found = {}
    for name, full in with_prefix(checkpoint.tensors, table).items():
        for old, new in _OLD:
            full = full.removesuffix(old) + new if full.endswith(old) else full
        found[full] = checkpoint.tensors[name]
    # The prefix was put before a head's names too, where the file leaves it out of the backbone's.
    known = _spared(table)
    bare = {name.removeprefix(table.prefix): name for name in found if table.prefix}
    for name in known & set(bare) - set(found):
        found[name] = found.pop(bare[name])
    return found


# === Checks ===


def _check_values(table, checkpoint, names, values, recipe_name) -> None:
    keys = keys_of_task(checkpoint, table, names)
    theirs = table.read_config(checkpoint.config, names, checkpoint.where, keys)
    different = _different(values, theirs)
    if not different:
        # The media's keys are of what is read before the model, which a recipe may choose.
        said = {*theirs, *table.said(values), *table.read_media({})}
        different = _different(values, unsaid(table.architecture, values, said))
    if different:
        raise WeightsError(
            f"the checkpoint is not a {recipe_name}: {'; '.join(different)}",
            where=checkpoint.where,
            next_step="modelzoo build SOURCE takes the recipe from the checkpoint",
        )


def _different(values: Mapping, theirs: Mapping) -> list[str]:
    return [
        f"{key} is {values[key]!r} here and {value!r} there"
        for key, value in theirs.items()
        if key.rpartition(".")[2] not in _FREE
        and key in values
        and value is not None
        and _differ(values[key], value)
    ]


def _differ(ours, theirs) -> bool:
    if ours is None:
        return True
    if isinstance(ours, list | tuple):
        return list(ours) != list(theirs)
    if isinstance(ours, float) or isinstance(theirs, float):
        return abs(float(ours) - float(theirs)) > 1e-6 * abs(float(theirs))
    return ours != theirs


def _fresh(model, weights, rules, tensors) -> list[str]:
    """The paths of the head's weights, where the checkpoint holds nothing at all of the head."""
    backbone = {id(weight) for weight in model.backbone.weights}
    head = [path for path, weight in weights.items() if id(weight) not in backbone]
    found = any(rule.theirs in tensors and set(rule.ours) & set(head) for rule in rules)
    return [] if found else head


def _check_names(where, table, weights, rules, tensors, head, fresh) -> None:
    wanted = {path: rule.theirs for rule in rules for path in rule.ours}
    # A weight with two names (T5's `wi` and `wi_1`) needs one of them.
    wanted.update({path: r.theirs for r in rules if r.theirs in tensors for path in r.ours})
    further = {name for r in rules if r.theirs in tensors for name in r.plus}
    missing = sorted(
        {
            wanted.get(path, path)
            for path in weights
            if path not in fresh and wanted.get(path) not in tensors
        }
        | further - set(tensors)
    )
    known = {name for rule in rules for name in rule.tensors} | _spared(table)
    unexpected = sorted(
        name for name in tensors if name not in known and not _is_ignored(name, table)
    )
    if missing or unexpected:
        raise WeightsError(
            "; ".join(
                f"{word} {len(names)} tensor{'s' * (len(names) > 1)}: {_listed(names)}"
                for word, names in (("it lacks", missing), ("it has no place for", unexpected))
                if names
            ),
            where=where,
            did_you_mean=nearest(missing[0], unexpected or tensors) if missing else None,
            next_step="check that the checkpoint is whole, and of the recipe's model",
        )
    for copy, original in head.copies.items():
        if copy in tensors and copy not in {rule.theirs for rule in rules}:
            _check_copy(where, copy, original, tensors)


def _spared(table: Table) -> set[str]:
    """What a model may leave unread: a pooler, another task's head, copies of other tensors."""
    heads = table.heads.values()
    return {
        *(name for rule in table.rules for name in rule.tensors),
        *(name for head in heads for rule in head.rules for name in rule.tensors),
        *(name for head in heads for name in head.copies),
    }


def _check_copy(where, copy: str, original: str | None, tensors) -> None:
    array = tensors[copy].read()
    if original is None:
        same = not np.any(array)
    else:
        same = original not in tensors or np.array_equal(array, tensors[original].read())
    if not same:
        raise WeightsError(
            f"{copy} is not zero, which is not supported"
            if original is None
            else f"{copy} is not the same as {original}, which the model ties it to",
            where=where,
        )


def _check_derived(where, name: str, tensor: Tensor, wanted: np.ndarray) -> None:
    rows = min(tensor.shape[0], len(wanted))  # a model may be built for shorter texts
    if tensor.shape[1:] != wanted.shape[1:] or not np.allclose(
        tensor.read()[:rows], wanted[:rows], atol=1e-2
    ):
        raise WeightsError(
            f"{name} is not what the model makes of its sizes, which is not supported",
            where=where,
            next_step="check that the checkpoint is whole, and that it was not trained further "
            "with these numbers free",
        )


def _check_shapes(where, rules, tensors, weights) -> None:
    wrong = []
    for rule in rules:
        wanted = shape_of(rule, weights)
        for name in rule.tensors:
            if tensors[name].shape != wanted:
                wrong.append(f"{name} is {tensors[name].shape} there and {wanted} here")
            elif tensors[name].dtype not in ("float32", "float16", "bfloat16", "float64"):
                wrong.append(f"{name} holds {tensors[name].dtype}")
    if wrong:
        raise WeightsError(
            f"{len(wrong)} tensor{'s' * (len(wrong) > 1)} do not fit: {_listed(wrong)}",
            where=where,
            next_step="modelzoo build SOURCE takes the recipe from the checkpoint",
        )


def _is_ignored(name: str, table: Table) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in (*table.ignored, _BATCHES))


def _listed(names) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
