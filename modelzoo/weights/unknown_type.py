"""What to say of a model type without a table: the nearest one, and where it differs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress

from modelzoo import plugins
from modelzoo.errors import WeightsError, nearest
from modelzoo.weights.keys import Asked, is_unused, not_read
from modelzoo.weights.lookup import known_types
from modelzoo.weights.table import Table
from modelzoo.weights.tables import TABLES

_NEAR = 0.3  # the least share of keys in common
_SHOWN = 6  # keys that a message lists
# Model types without a table: the nearest that has one, and what they differ in.
APART: dict[str, tuple[str, str]] = {
    "data2vec-audio": ("wav2vec2", "its positions are several convolutions, each normalised"),
    "dinov2_with_registers": ("dinov2", "it has register tokens"),
    "dinov3_vit": ("dinov2", "it has register tokens and rotary positions"),
    "siglip2": (
        "siglip",
        "it reads patches of images of any proportions (NaFlex). SigLIP 2 at a fixed resolution, "
        "google/siglip2-base-patch16-224 for example, is of the type siglip",
    ),
    "vit_mae": ("vit", "it looks at a part of the patches, and has a decoder"),
    "wav2vec2-bert": ("wav2vec2", "it reads spectrograms, through Conformer layers"),
    "wav2vec2-conformer": ("wav2vec2", "its layers are Conformers"),
    "wavlm": ("wav2vec2", "its attention has gated relative positions"),
}


def unknown_type(config: Mapping, where: str) -> WeightsError:
    """The error for a configuration whose `model_type` has no table.

    It names the plugin that has the type and cannot be used; or the table that reads most of the
    configuration, with the keys that it does not read, and a plugin's architecture of that name.

    Example:
        >>> print(unknown_type({"model_type": "olmo", "n_embd": 8, "n_head": 2}, "here").what)
        the model type 'olmo' has no table here
    """
    kind = str(config["model_type"])
    what = f"the model type {kind!r} has no table here"
    for plugin in plugins.discover():
        if kind in plugin.weight_tables:
            return WeightsError(
                f"{what}: {plugin.title} brings one and cannot be used: {plugin.problem}",
                where=where,
                next_step="modelzoo plugins shows what is wrong with a plugin",
            )
    near, apart = APART.get(kind, (nearest(kind, known_types()), ""))
    table = nearest_table(config)
    if table is not None:
        apart = apart or f"the nearest is {_difference(table, config)}"
    next_step = f"choose one of {', '.join(known_types())}, or install a plugin that brings {kind}"
    if alike := _architecture_of_a_plugin(kind):
        next_step = f"{alike}, which a recipe may name; or {next_step}"
    if plugins.VARIABLE in os.environ:
        seen = os.environ[plugins.VARIABLE]
        next_step += f"; {plugins.VARIABLE}={seen!r} limits which plugins are seen"
    return WeightsError(
        f"{what}; {apart}" if apart else what,
        where=where,
        did_you_mean=near,
        next_step=next_step,
    )


def _architecture_of_a_plugin(kind: str) -> str | None:
    """Which plugin has an architecture of the model type's name, whatever its case and punctuation.

    `modelzoo-kerashub 0.2.0 has the architecture kerashub/FalconBackbone` for `falcon`.
    """
    wanted = _letters(kind)
    for plugin in plugins.discover():
        for name in plugin.architectures if plugin.usable else ():
            if _letters(name).removesuffix("backbone") == wanted:
                return f"{plugin.title} has the architecture {plugin.namespace}/{name}"
    return None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def nearest_table(config: Mapping) -> Table | None:
    """The core's table whose keys are most like those of a configuration, or `None`.

    Of the tables for a class with the same ending as the configuration's, `ForCausalLM` for
    example; where there is none, of all.
    """
    stated = {key for key in config if not is_unused(key)}
    endings = {_ending(name) for name in config.get("architectures") or ()} - {""}
    tables = [
        table
        for table in TABLES.values()
        if endings & {_ending(name) for head in table.heads.values() for name in head.classes}
    ]
    found, share = None, _NEAR
    # The first of equals is one that is written under its own name.
    for table in sorted(tables or TABLES.values(), key=lambda table: bool(table.written_as)):
        own = {value.theirs.partition(".")[0] for value in table.values} | {*table.assumed}
        read = stated & {key.partition(".")[0] for key in _keys(table, config)}
        if len(read) / len(stated | own) > share:
            found, share = table, len(read) / len(stated | own)
    return found


def _ending(name: str) -> str:
    return "".join(re.findall(r"For[A-Z].*|Model$", name))


def _keys(table: Table, config: Mapping) -> set[str]:
    """The keys that a table looks at in a configuration, dotted."""
    asked = Asked(config, "config.json")
    with suppress(Exception):  # it is of another type: what the table asks for until it fails
        table.read(asked, frozenset())
    return {*asked.keys_asked, *table.assumed, *table.aliases, *(v.theirs for v in table.values)}


def _difference(table: Table, config: Mapping) -> str:
    rest = not_read(config, _keys(table, config), table.neutral, ())
    needed = {value.theirs for value in table.values if value.default is ...}
    names = {table.aliases.get(key, key) for key in config} | {*config}
    missing = sorted(key for key in needed if key.partition(".")[0] not in names)
    said = [f"does not read {_listed(rest)}"] if rest else []
    said += [f"needs {_listed(missing)}"] if missing else []
    return f"{table.model_type}, which {' and '.join(said) or _objection(table, config)}"


def _objection(table: Table, config: Mapping) -> str:
    try:
        table.read_config(config, frozenset(), "config.json")
    except WeightsError as error:
        return f"rejects it: {error.what}"
    except Exception as error:  # as above
        return f"cannot read it: {error!r}"
    return "reads every key of this configuration: what sets the two apart is in their code"


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
