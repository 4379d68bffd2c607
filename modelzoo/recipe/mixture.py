"""What a model learns side by side, as data: a recipe's `[mixture.NAME]` tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from modelzoo.errors import DataError, RecipeError, nearest
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.schema import validate_against

__all__ = ["FIELDS", "Part", "check_names", "parts_of", "with_own_data"]

Objective = Literal[
    "captioning",
    "image-text-matching",
    "next-sentence",
    "span-corruption",
    "text-to-text",
    "video-captioning",
    "visual-question-answering",
]
OBJECTIVES: tuple[str, ...] = get_args(Objective)
# What the examples of an objective hold.
FIELDS: dict[str, tuple[str, ...]] = {
    "captioning": ("image", "text"),
    "image-text-matching": ("image", "text"),
    "next-sentence": ("text",),
    "span-corruption": ("text",),
    "text-to-text": ("source", "target"),
    "video-captioning": ("video", "text"),
    "visual-question-answering": ("image", "question", "answer"),
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the things that a mixture learns: a table `[mixture.NAME]`.

    Args:
        objective: how examples become a source, pictures and a target; see `data.mixture`.
        prompt: text before every source, by which the model knows what to do.
        weight: share of the batches, relative to the weights of the other parts; 0 leaves it out.
        data: a path to train on, where the training is given none under the part's name.
        columns: field -> the column of the data that holds it, `{source = "zh", target = "en"}`.
        yes, no: the targets of next-sentence and image-text-matching.
    """

    objective: Objective
    prompt: str = ""
    weight: float = 1.0
    data: str | None = None
    columns: dict[str, str] | None = None
    yes: str = "yes"
    no: str = "no"

    @property
    def fields(self) -> tuple[str, ...]:
        """What an example of it holds: `("image", "text")`."""
        return FIELDS[self.objective]

    @property
    def medium(self) -> str | None:
        """ "image" or "video", where the examples hold one."""
        return next((name for name in self.fields if name in ("image", "video")), None)


def parts_of(mixture: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Part]:
    """The parts that are trained, by name.

    Args:
        mixture: a recipe's `[mixture]`: name -> the values of `Part`.

    Raises:
        RecipeError: no part, weights that sum to nothing, an unknown objective or key, a column of
            a field that the objective does not read.

    Example:
        >>> parts = parts_of({"denoise": {"objective": "span-corruption", "weight": 3}})
        >>> parts["denoise"].fields
        ('text',)
    """
    if not mixture:
        raise RecipeError(
            "a mixture has no part to train",
            next_step='state one: [mixture.denoise] with objective = "span-corruption"',
        )
    parts = {name: _part(name, table) for name, table in mixture.items()}
    trained = {name: part for name, part in parts.items() if part.weight > 0}
    if not trained:
        raise RecipeError(
            "the weights of the mixture sum to nothing: "
            + ", ".join(f"mixture.{name}.weight is 0" for name in parts),
            next_step=f"--set mixture.{next(iter(parts))}.weight=1",
        )
    return trained


def _part(name: str, table: object) -> Part:
    title = f"mixture.{name}"
    if not isinstance(table, Mapping):
        raise RecipeError(
            f"{title} must be a table, not {table!r}", next_step=f"write [{title}] objective = …"
        )
    one = Recipe(name="the mixture", values={title: dict(table)}, source="[mixture]")
    part = Part(**validate_against(one, Part, table=title))
    if not 0 <= part.weight < math.inf:
        raise RecipeError(f"{title}.weight must be 0 or more, not {part.weight}")
    for field in part.columns or ():
        if field not in part.fields:
            raise RecipeError(
                f"{title}.columns names {field!r}, and {part.objective} reads "
                + " and ".join(part.fields),
                did_you_mean=nearest(field, part.fields),
                next_step=_objectives_that_read(field),
            )
    return part


def _objectives_that_read(field: str) -> str | None:
    found = [name for name, fields in FIELDS.items() if field in fields]
    return f"{field} is read by {', '.join(found)}" if found else None


# === Data by name ===


def check_names(parts: Mapping[str, Part], data: object) -> Mapping[str, Any]:
    """Data that is given by the names of parts.

    Raises:
        DataError: it is not by name, or names a part that is not trained.

    Example:
        >>> check_names({"denoise": Part(objective="span-corruption")}, {"denoise": "a.txt"})
        {'denoise': 'a.txt'}
    """
    if not isinstance(data, Mapping):
        raise DataError(
            "a mixture reads data by the names of its parts, and this has no name",
            next_step=f"name it: --data {next(iter(parts))}=PATH, in Python "
            f"{{{next(iter(parts))!r}: data}}; the parts are {', '.join(parts)}",
        )
    for name in data:
        if name not in parts:
            raise DataError(
                f"the mixture trains no part {name!r}",
                did_you_mean=nearest(str(name), parts),
                next_step=f"its parts are {', '.join(parts)}; one of weight 0 is left out",
            )
    return data


def with_own_data(parts: Mapping[str, Part], data: object) -> dict[str, Any]:
    """Raw data for each part: what is given under its name, else the path in the recipe.

    Raises:
        DataError: as `check_names`; or a part has neither.
    """
    given = check_names(parts, {} if data is None else data)
    found = {name: given.get(name, part.data) for name, part in parts.items()}
    missing = [name for name, raw in found.items() if raw is None]
    if missing:
        raise DataError(
            f"no data for {' and '.join(missing)} of the mixture",
            next_step=f"--data {missing[0]}=PATH, a path in mixture.{missing[0]}.data, or "
            f"--set mixture.{missing[0]}.weight=0 to train without it",
        )
    return found
