"""Rotary positions and kinds of layers, in the several ways that `config.json` has had them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from modelzoo.errors import WeightsError, nearest
from modelzoo.recipe.ranges import ROTARY_SCALINGS

_KINDS = {"full_attention": "global", "sliding_attention": "local"}
# Their names of what stretches positions, and ours; see `layers.positions.rotary_rates`.
_SCALING = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_max_length",
    "attention_factor": "attention_factor",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "truncate": "truncate",
    "short_factor": "short_factor",
    "long_factor": "long_factor",
}
_SCALING_TYPES = ("default", *ROTARY_SCALINGS)


def read_rotary(
    config: Mapping,
    theta: float,
    *,
    partial: bool = False,
    fraction: float = 1.0,
    original: int | None = None,
) -> dict:
    """`rotary_theta` and `rotary_scaling` of a model whose layers all turn alike.

    Args:
        theta: where the file states none.
        partial: positions may turn a part of a head, the `rotary_fraction` that is then read.
        fraction: the same where the file states none.
        original: the original length where the file states none; default: the longest text.
    """
    # The older keys are read in any case, so that none of them is passed over.
    newer, older = config.get("rope_parameters"), config.get("rope_scaling")
    parameters, own = newer or older or {}, config.get("rope_theta")
    theta = parameters.get("rope_theta") or own or theta
    found = {
        "rotary_theta": float(theta),
        "rotary_scaling": _read_scaling(parameters, config, original),
    }
    if partial:
        shares = parameters.get("partial_rotary_factor"), config.get("partial_rotary_factor")
        return {**found, "rotary_fraction": float(shares[0] or shares[1] or fraction)}
    _check_whole(parameters)
    return found


def write_rotary(values: Mapping, *, partial: bool = False, everywhere: bool = True) -> dict:
    """
    Args:
        everywhere: all layers must have them; else the table says which ones do.

    Raises:
        WeightsError: layers that turn in different ways, or a part of a head, unless `partial`.
    """
    theta, fraction = values["rotary_theta"], values.get("rotary_fraction", 1.0)
    if everywhere and not all(values.get("rotary_pattern", ())):
        raise WeightsError("this model has layers without rotary positions")
    scaling = _write_scaling(values.get("rotary_scaling"), values)
    if "local" in values.get("attention_pattern", ()):
        local_theta = values.get("rotary_local_theta")
        if local_theta is not None and (local_theta != theta or len(scaling) > 1):
            raise WeightsError("this model has other rotary positions in its local layers")
    if fraction != 1 and not partial:
        raise WeightsError("this model has rotary positions on a part of a head")
    share = {"partial_rotary_factor": fraction} if partial else {}
    # Both spellings: the second is what transformers read before version 5.
    old = {"rope_theta": theta, "rope_scaling": scaling if len(scaling) > 1 else None}
    return {"rope_parameters": {"rope_theta": theta, **share, **scaling}, **share, **old}


def read_layers(config: Mapping, theta: float, local_theta: float, pattern: Sequence[str]) -> dict:
    """The same of a model with global and local layers, and their `attention_pattern`.

    Args:
        theta, local_theta: where the file says nothing.
        pattern: of a file that lists no `layer_types`.
    """
    parameters = config.get("rope_parameters") or {}
    if "full_attention" in parameters:
        far, near = parameters["full_attention"] or {}, parameters.get("sliding_attention") or {}
    else:
        far, near = parameters or config.get("rope_scaling") or {}, {}
    _check_whole(far)
    _check_whole(near)
    length = {"max_position_embeddings": config.get("max_position_embeddings")}
    if _read_scaling(near, length) is not None:
        raise WeightsError("stretched rotary positions in local layers are not supported")
    older = {
        key: config.get(key)
        for key in ("global_rope_theta", "rope_theta", "local_rope_theta", "rope_local_base_freq")
    }
    far_theta = far.get("rope_theta") or older["global_rope_theta"] or older["rope_theta"]
    near_theta = near.get("rope_theta") or older["local_rope_theta"]
    near_theta = near_theta or older["rope_local_base_freq"]
    scaling = _read_scaling(far, length)
    return {
        "rotary_theta": float(far_theta or theta),
        "rotary_local_theta": float(near_theta or local_theta),
        "attention_pattern": _read_kinds(config) or list(pattern),
        **({"rotary_scaling": scaling} if scaling else {}),
    }


def write_layers(values: Mapping) -> dict:
    """
    Raises:
        WeightsError: layers without rotary positions, or local ones with stretched positions.
    """
    far, near = values["rotary_theta"], values["rotary_local_theta"]
    if not all(values.get("rotary_pattern", ())) or values.get("rotary_fraction", 1.0) != 1:
        raise WeightsError("this model has layers, or parts of a head, without rotary positions")
    if near is None:
        raise WeightsError("this model has stretched rotary positions in its local layers")
    scaling = _write_scaling(values.get("rotary_scaling"), values)
    return {
        "layer_types": _write_kinds(values),
        "rope_parameters": {
            "full_attention": {"rope_theta": far, **scaling},
            "sliding_attention": {"rope_theta": near, "rope_type": "default"},
        },
    }


def shortest_period(kinds: Sequence) -> list:
    """The shortest list that, repeated and cut, gives `kinds`.

    >>> shortest_period(["a", "b", "b", "a", "b"])
    ['a', 'b', 'b']
    """
    for size in range(1, len(kinds) + 1):
        if all(kind == kinds[i % size] for i, kind in enumerate(kinds)):
            return list(kinds[:size])
    return list(kinds)


def read_windows(
    config: Mapping, kinds: Sequence[str], *, used: bool = True, window: int | None = None
) -> dict:
    """`attention_pattern` and `sliding_window` of a model whose layers list their kind.

    Args:
        kinds: ours, of the layers of a file that has no `layer_types`.
        used: whether the file's `sliding_window` is in use.
        window: that of a file that has no `sliding_window`.
    """
    pattern = _read_kinds(config) or shortest_period(kinds)
    window = config.get("sliding_window", window) if used else None
    if "local" not in pattern:
        return {"attention_pattern": pattern, "sliding_window": None}
    if window is None:
        raise WeightsError("layer_types names 'sliding_attention', and no sliding_window is in use")
    return {"attention_pattern": pattern, "sliding_window": window}


def write_windows(values: Mapping) -> dict:
    kinds = _write_kinds(values)
    window = values["sliding_window"] if "sliding_attention" in kinds else None
    return {"layer_types": kinds, "sliding_window": window}


def write_full_layers(values: Mapping) -> dict:
    """Nothing.

    Raises:
        WeightsError: a layer is local.
    """
    if "local" in values.get("attention_pattern", ()):
        raise WeightsError("this model has local layers")
    return {}


def _read_kinds(config: Mapping) -> list[str] | None:
    kinds = config.get("layer_types")
    for kind in kinds or ():
        if kind not in _KINDS:
            raise WeightsError(
                f"layers of the type {kind!r} are not supported",
                did_you_mean=nearest(kind, _KINDS),
                next_step=f"choose one of {', '.join(_KINDS)}",
            )
    return shortest_period([_KINDS[kind] for kind in kinds]) if kinds else None


def _write_kinds(values: Mapping) -> list[str]:
    pattern = values["attention_pattern"]
    names = {ours: theirs for theirs, ours in _KINDS.items()}
    return [names[pattern[i % len(pattern)]] for i in range(values["num_layers"])]


def _check_whole(parameters: Mapping) -> None:
    if (parameters.get("partial_rotary_factor") or 1.0) != 1.0:
        raise WeightsError("rotary positions on a part of a head are not supported here")


def _read_scaling(parameters: Mapping, config: Mapping, original: int | None = None) -> dict | None:
    """
    Args:
        config: for the longest text, and for an original length outside of `parameters`.
        original: the original length where the file states none; default: the longest text.
    """
    kinds = [parameters.get("rope_type"), parameters.get("type")]
    kind = kinds[0] or kinds[1] or "default"
    kind = "longrope" if kind == "su" else kind  # its name in the first files
    if kind not in _SCALING_TYPES:
        raise WeightsError(
            f"rotary positions of the type {kind!r} are not supported",
            did_you_mean=nearest(str(kind), _SCALING_TYPES),
            next_step=f"choose one of {', '.join(_SCALING_TYPES)}",
        )
    if kind == "default":
        return None
    length = config.get("max_position_embeddings")
    found = {ours: parameters.get(key) for key, ours in _SCALING.items()}
    if kind == "dynamic":
        found["original_max_length"] = length
    else:
        stated = config.get("original_max_position_embeddings", original)
        found["original_max_length"] = stated or found["original_max_length"] or length
    if kind in ("yarn", "longrope") and length and found["original_max_length"]:
        found["factor"] = found["factor"] or length / found["original_max_length"]
    if kind == "yarn":
        found = _read_yarn(parameters, found)
    needed, optional = ROTARY_SCALINGS[kind]
    names = {ours: theirs for theirs, ours in _SCALING.items()}
    missing = [names[key] for key in needed if found[key] is None]
    if missing:
        raise WeightsError(f"rotary positions of the type {kind!r} need {missing[0]}")
    return {"type": kind, **{k: found[k] for k in (*needed, *optional) if found[k] is not None}}


def _read_yarn(parameters: Mapping, found: Mapping) -> dict:
    """The numbers of YaRN; a 0 stands for the default, and `mscale` for the attention factor."""
    scale, below = parameters.get("mscale"), parameters.get("mscale_all_dim")
    attention, factor = found["attention_factor"], found["factor"]
    if attention is None and scale and below and factor:
        grown = 0.1 * math.log(max(factor, 1))
        attention = (grown * scale + 1) / (grown * below + 1)
    betas = {key: found[key] or None for key in ("beta_fast", "beta_slow")}
    return {**found, **betas, "attention_factor": attention}


def _write_scaling(scaling: Mapping | None, values: Mapping) -> dict:
    if not scaling:
        return {"rope_type": "default"}
    numbers = {key: scaling[ours] for key, ours in _SCALING.items() if ours in scaling}
    length = values.get("max_length")
    if scaling["type"] == "dynamic":  # whose original length is the longest text
        del numbers["original_max_position_embeddings"]
    if (
        scaling["type"] == "longrope"
        and length == scaling["factor"] * scaling["original_max_length"]
    ):
        del numbers["factor"]  # they take it from the two lengths
    return {"rope_type": scaling["type"], **numbers}
