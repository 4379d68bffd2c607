"""Raw data of a mixture, name of a part -> raw data, as one list of examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelzoo.data.media import read_media_examples
from modelzoo.data.raw import read_examples
from modelzoo.errors import DataError
from modelzoo.recipe.mixture import FIELDS, Part, check_names

__all__ = ["part_examples", "read_mixture"]


def read_mixture(raw: object, parts: Mapping[str, Part]) -> list[dict[str, Any]]:
    """The examples of all parts that have data, each with the name of its `part`.

    Args:
        raw: name of a part -> raw data, as `read_examples` or `read_media_examples` takes it.

    Raises:
        DataError: data of a part that is not there; or as these functions, with the part's name.

    Example:
        >>> from modelzoo.recipe.mixture import Part
        >>> read_mixture({"denoise": ["a text"]}, {"denoise": Part(objective="span-corruption")})
        [{'part': 'denoise', 'text': 'a text'}]
    """
    given = check_names(parts, raw)
    return [
        {"part": name, **example}
        for name, part in parts.items()
        if name in given
        for example in part_examples(name, part, given[name])
    ]


def part_examples(name: str, part: Part, raw: object) -> Iterator[dict[str, Any]]:
    """The examples of one part, with the fields of its objective.

    Raises:
        DataError: missing, empty or malformed data; pictures where the objective reads text.
    """
    try:
        if part.medium is not None:
            yield from read_media_examples(raw, part.fields, part.columns)
        else:
            yield from read_examples(raw, part.columns, part.fields)
    except DataError as error:
        error.where = ", ".join(filter(None, [f"the part {name} of the mixture", error.where]))
        columns = f"--set mixture.{name}.columns."
        error.next_step = (error.next_step or "").replace("--columns ", columns) or None
        held = None if part.medium else _pictures_in(raw)
        if held is not None:
            readers = [objective for objective, fields in FIELDS.items() if held in fields]
            error.did_you_mean = None
            error.next_step = (
                f"{part.objective} reads {' and '.join(part.fields)}, and this is data with "
                f"{held}s, which {', '.join(readers)} read: --set mixture.{name}.objective="
                f"{readers[0]}"
            )
        raise


def _pictures_in(raw: object) -> str | None:
    """ "image" or "video", where the first record has such a column."""
    try:
        record = next(read_examples(raw))
    except DataError:  # the first reading has said what is wrong
        return None
    return next((kind for kind in ("image", "video") if kind in record), None)
