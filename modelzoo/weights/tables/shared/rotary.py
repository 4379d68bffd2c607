"""Rotary positions and kinds of layers, in the several ways that `config.json` has had them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelzoo.errors import WeightsError, nearest

_KINDS = {"full_attention": "global", "sliding_attention": "local"}
# Their names of what stretches positions, and ours; see `layers.positions.rotary_rates`.
_SCALING = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_max_length",
}
_SCALING_TYPES = ("default", "linear", "llama3")


def read_rotary(
    config: Mapping, theta: float, *, partial: bool = False, fraction: float = 1.0
) -> dict:
    """`rotary_theta` and `rotary_scaling` of a model with one kind of layers.

    Args:
        theta: where the file states none.
        partial: positions may turn a part of a head, the `rotary_fraction` that is then read.
        fraction: the same where the file states none.
    """
    # The older keys are read in any case, so that none of them is passed over.
    newer, older = config.get("rope_parameters"), config.get("rope_scaling")
    parameters, own = newer or older or {}, config.get("rope_theta")
    theta = parameters.get("rope_theta") or own or theta
    length = config.get("max_position_embeddings")
    part = {}
    if partial:
        shares = parameters.get("partial_rotary_factor"), config.get("partial_rotary_factor")
        part = {"rotary_fraction": float(shares[0] or shares[1] or fraction)}
    scaling = _read_scaling(parameters, length, whole=not partial)
    return {"rotary_theta": float(theta), "rotary_scaling": scaling, **part}


def write_rotary(values: Mapping, *, partial: bool = False) -> dict:
    """What `read_rotary` reads."""
    scaling = _write_scaling(values.get("rotary_scaling"))
    theta = values["rotary_theta"]
    # Both spellings: the second is what transformers read before version 5.
    old = {"rope_theta": theta, "rope_scaling": scaling if len(scaling) > 1 else None}
    part = {"partial_rotary_factor": values["rotary_fraction"]} if partial else {}
    return {"rope_parameters": {"rope_theta": theta, **scaling, **part}, **old, **part}


def read_layers(config: Mapping, theta: float, local_theta: float, pattern: Sequence[str]) -> dict:
    """The same of a model with global and local layers, and their `attention_pattern`.

    Args:
        theta, local_theta: where the file says nothing.
        pattern: of a file that lists no `layer_types`.
    """
    parameters = config.get("rope_parameters") or {}
    if "full_attention" in parameters:
        far, near = parameters["full_attention"], parameters.get("sliding_attention") or {}
    else:
        far, near = parameters or config.get("rope_scaling") or {}, {}
    if _read_scaling(near) is not None:
        raise WeightsError("stretched rotary positions in local layers are not supported")
    older = {
        key: config.get(key)
        for key in ("global_rope_theta", "rope_theta", "local_rope_theta", "rope_local_base_freq")
    }
    far_theta = far.get("rope_theta") or older["global_rope_theta"] or older["rope_theta"]
    near_theta = near.get("rope_theta") or older["local_rope_theta"]
    near_theta = near_theta or older["rope_local_base_freq"]
    scaling = _read_scaling(far, config.get("max_position_embeddings"))
    kinds = config.get("layer_types")
    if kinds:
        wrong = [kind for kind in kinds if kind not in _KINDS]
        if wrong:
            raise WeightsError(f"layers of the type {wrong[0]!r} are not supported")
        pattern = shortest_period([_KINDS[kind] for kind in kinds])
    return {
        "rotary_theta": float(far_theta or theta),
        "rotary_local_theta": float(near_theta or local_theta),
        "attention_pattern": list(pattern),
        **({"rotary_scaling": scaling} if scaling else {}),
    }


def write_layers(values: Mapping) -> dict:
    pattern, layers = values["attention_pattern"], values["num_layers"]
    names = {ours: theirs for theirs, ours in _KINDS.items()}
    far, near = values["rotary_theta"], values["rotary_local_theta"]
    return {
        "layer_types": [names[pattern[i % len(pattern)]] for i in range(layers)],
        "rope_parameters": {
            "full_attention": {"rope_theta": far, **_write_scaling(values.get("rotary_scaling"))},
            "sliding_attention": {"rope_theta": near, "rope_type": "default"},
        },
    }


def shortest_period(kinds: Sequence[str]) -> list[str]:
    """The shortest list that, repeated and cut, gives `kinds`.

    >>> shortest_period(["a", "b", "b", "a", "b"])
    ['a', 'b', 'b']
    """
    for size in range(1, len(kinds) + 1):
        if all(kind == kinds[i % size] for i, kind in enumerate(kinds)):
            return list(kinds[:size])
    return list(kinds)


def read_full_layers(config: Mapping) -> dict:
    """Nothing; rejects a model that lists other layers than those that look at everything."""
    for kind in config.get("layer_types") or ():
        if kind != "full_attention":
            raise WeightsError(f"layers of the type {kind!r} are not supported here")
    return {}


def _read_scaling(
    parameters: Mapping, length: int | None = None, whole: bool = True
) -> dict | None:
    """
    Args:
        length: what Llama 3's scaling takes for the original length where the file has none.
        whole: heads must turn as a whole.
    """
    kinds = [parameters.get("rope_type"), parameters.get("type")]
    kind = kinds[0] or kinds[1] or "default"
    if kind not in _SCALING_TYPES:
        raise WeightsError(
            f"rotary positions of the type {kind!r} are not supported",
            did_you_mean=nearest(str(kind), _SCALING_TYPES),
            next_step=f"there is {', '.join(_SCALING_TYPES)}",
        )
    if whole and (parameters.get("partial_rotary_factor") or 1.0) != 1.0:
        raise WeightsError("rotary positions on a part of a head are not supported")
    if kind == "default":
        return None
    found = {ours: parameters.get(key) for key, ours in _SCALING.items()}
    if kind == "linear":
        found = {"factor": found["factor"]}
    else:
        found["original_max_length"] = found["original_max_length"] or length
    missing = [key for key, ours in _SCALING.items() if found.get(ours, ...) is None]
    if missing:
        raise WeightsError(f"rotary positions of the type {kind!r} need {missing[0]}")
    return {"type": kind, **found}


def _write_scaling(scaling: Mapping | None) -> dict:
    if not scaling:
        return {"rope_type": "default"}
    numbers = {key: scaling[ours] for key, ours in _SCALING.items() if ours in scaling}
    return {"rope_type": scaling["type"], **numbers}
