"""Where a model's weights come from: the table `[source]` of lock files, manifests and cards.

    weights     "random", "partly random" (a new head), "pretrained" or "trained"
    place       of a checkpoint: `hf://owner/name`, or the name of a local file or folder
    revision    on the hub; else `sha256`
    licence     as the checkpoint states it; so are `base_model`, `name` and `organization`
    training    a table: what `modelzoo train` did

A model that nothing is known of, such as one of a directory that modelzoo 0.1 wrote, has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Origin", "card_rows", "sentence", "source_table", "stamp"]

# What a licence that no file states means for whoever passes the model on.
_NO_LICENCE = "not stated: ask where the weights come from before you pass them on"


@dataclass(frozen=True)
class Origin:
    """A table `[source]`, and the first numbers of each weight when it was true."""

    table: Mapping[str, Any]
    sample: tuple[bytes, ...] = field(repr=False)


def stamp(model, table: Mapping[str, Any]) -> None:
    """Note where a model's weights come from; see the module."""
    model.origin = Origin(dict(table), _sample(model))


def source_table(model) -> dict[str, Any]:
    """The table `[source]` of a model; `{}` where nothing is known.

    Weights that changed since it was noted, by `fit()` or by hand, are "trained", and what was
    measured before is left out.

    Example:
        >>> source_table(modelzoo.build("gpt-tiny", num_layers=1, vocab_size=300))
        {'weights': 'random'}
    """
    origin = getattr(model, "origin", None)
    if origin is None:
        return {}
    if not origin.table or origin.sample == _sample(model):
        return dict(origin.table)
    kept = {key: value for key, value in origin.table.items() if key != "training"}
    return {**kept, "weights": "trained"}


def sentence(table: Mapping[str, Any]) -> str:
    """What a table `[source]` says of the weights, for a reader; "" where nothing is known.

    Example:
        >>> sentence({"weights": "pretrained", "place": "hf://acme/tiny"})
        'weights of hf://acme/tiny'
    """
    weights, place = table.get("weights"), table.get("place")
    training = table.get("training", {})
    if weights == "random":
        return "random weights: the model was never trained"
    if weights == "partly random":
        begun = f"weights of {place}" if place else "weights of another model"
        return f"{begun}, under a head of random weights that was never trained"
    if weights == "trained":
        steps = f"trained for {training['steps']:,} steps" if "steps" in training else "trained"
        return f"{steps}, from {place}" if place else steps
    return f"weights of {place}" if place else ""


def card_rows(table: Mapping[str, Any]) -> dict[str, str]:
    """The same for a card: rows of a Markdown table, without what is not known.

    Example:
        >>> card_rows({"weights": "pretrained", "place": "hf://acme/tiny", "licence": "mit"})
        {'weights': 'pretrained, from `hf://acme/tiny`', 'licence': '`mit`'}
    """
    weights, place = table.get("weights"), table.get("place")
    rows = {}
    if weights:
        rows["weights"] = f"{weights}, from {_code(place)}" if place else f"{weights}"
    for key in ("revision", "sha256", "name", "organization"):
        if key in table:
            rows[key] = _code(table[key])
    if "base_model" in table:
        rows["base model"] = _code(table["base_model"])
    if place or "licence" in table:
        rows["licence"] = _code(table["licence"]) if "licence" in table else _NO_LICENCE
    return rows | _training_rows(table.get("training", {}))


def _training_rows(training: Mapping[str, Any]) -> dict[str, str]:
    if not training:
        return {}
    data = f" of {_code(training['data'])}" if "data" in training else ""
    digest = f", sha256 `{training['data_sha256'][:16]}`" if "data_sha256" in training else ""
    figures = (f"{name} {value:.4g}" for name, value in training.get("figures", {}).items())
    return {
        "trained for": f"{training['steps']:,} steps, seed {training['seed']}",
        "trained on": f"{training['examples']:,} examples{data}{digest}",
        "figures": ", ".join(figures) or "none: there was nothing to validate on",
    }


def _code(value: object) -> str:
    """A value as code in a cell, whatever a checkpoint put into it."""
    line = " ".join(str(value).replace("`", "'").replace("|", "\\|").split())
    return f"`{line}`"


def _sample(model) -> tuple[bytes, ...]:
    """The first numbers of each weight; the states of dropout's seeds are whole numbers."""
    import numpy as np
    from keras import backend, ops

    sample = []
    for weight in model.weights:
        if backend.is_float_dtype(weight.dtype):
            flat: Any = ops.ravel(weight)
            first: Any = ops.convert_to_numpy(ops.cast(flat[:4], "float32"))
            sample.append(np.asarray(first).tobytes())
    return tuple(sample)
