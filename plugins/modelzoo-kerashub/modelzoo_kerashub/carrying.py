"""KerasHub's decoders in the zoo's own core: same numbers, and a cache that a device can keep.

KerasHub exports a decoder as one full forward pass. Those of `families` are the same mathematics as
the zoo's `gpt` architecture, so their weights only have to change places.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelzoo.errors import WeightsError

from modelzoo_kerashub.families import CARRIED, Family

__all__ = ["carry"]


def carry(model, *, max_length: int = 1024, tokenizer=None):
    """The zoo's own model with the numbers of a decoder of KerasHub's.

    Args:
        model: a KerasHub backbone or `CausalLM`, or a `HubBackbone`.
        max_length: tokens of its window, where the model itself knows no limit (rotary positions).
        tokenizer: a `tokenizer.json`, or what `modelzoo.build` takes; KerasHub's own stays there.

    Returns: a `modelzoo` causal language model: `generate`, `export` with `prefill` and `decode`.

    Raises:
        WeightsError: another family, or a choice that the core does not have.

    Example:
        >>> import keras_hub
        >>> small = dict(vocabulary_size=128, num_layers=1, num_heads=2, hidden_dim=32)
        >>> hub = keras_hub.models.GPT2Backbone(**small, intermediate_dim=64)
        >>> carry(hub).count_params() == hub.count_params()
        True
    """
    import keras
    import modelzoo

    source = getattr(model, "hub", None) or getattr(model, "backbone", None) or model
    family = _family(type(source))
    values = family.values(source)
    window = values.get("sliding_window")
    if (
        window is not None
        and window >= max_length
        and set(values["attention_pattern"]) == {"local"}
    ):  # a window that nothing can leave
        values = {**values, "attention_pattern": ["global"], "sliding_window": None}
    values = {"max_length": max_length, **values}
    target = modelzoo.build("gpt-small", compile=False, tokenizer=tokenizer, **values)
    weights = dict(_weights(source, family, values))
    for variable in target.backbone.weights:
        name = variable.path.partition("/")[2]
        if name not in weights:
            raise WeightsError(f"{type(source).__name__} has no weight for {name}")
        value = weights.pop(name)
        variable.assign(keras.ops.reshape(value, variable.shape))
    if weights:
        raise WeightsError(
            f"{type(source).__name__} has weights without a place: {sorted(weights)}"
        )
    return target


def _family(kind: type) -> Family:
    if kind.__name__ not in CARRIED:
        raise WeightsError(
            f"{kind.__name__} has no counterpart in the zoo's core",
            next_step=f"those that have one: {', '.join(CARRIED)}; the others export a full "
            "forward pass, kerashub/NAME",
        )
    return CARRIED[kind.__name__]


def _weights(source, family: Family, values: Mapping):
    """(our path, their value as numpy) of every weight."""
    import keras

    theirs = {variable.path: variable for variable in source.weights}
    layers = range(values["num_layers"])
    for ours, path in family.weights.items():
        for i in layers if "{i}" in ours else (0,):
            variable = theirs.pop(path.replace("{i}", str(i)), None)
            if variable is None:
                continue  # a bias, a norm, a head that this model does without
            value = keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))
            if family.heads_first and value.ndim == 3 and "/output/" not in ours:
                value = value.transpose(1, 0, 2)
            yield ours.replace("{i}", str(i)), value
    if theirs:
        raise WeightsError(
            f"{type(source).__name__} has weights that the table does not know: {sorted(theirs)}"
        )
