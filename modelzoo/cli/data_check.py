"""Data and task of a command line, checked within a second: before anything slow is imported."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelzoo.data.media import check_path
from modelzoo.data.mixture_examples import part_examples
from modelzoo.data.raw import read_examples, usual_columns
from modelzoo.errors import DataError
from modelzoo.recipe import Recipe
from modelzoo.recipe.mixture import check_names, parts_of, with_own_data
from modelzoo.registry import components

__all__ = ["check_all_data", "check_data", "data_of"]


def data_of(
    recipe: Recipe, given: Sequence[str], option: str = "--data", *, training: bool = False
) -> Any:
    """What an option for data says: a path, or name -> path of the parts of a mixture.

    Args:
        training: each part of a mixture needs data, and that of the recipe counts.

    Raises:
        DataError: none, several paths for a task that reads one, no name for a mixture, or one
            twice; a part without data.

    Example:
        >>> data_of(modelzoo.read_recipe("gpt-tiny"), ["corpus.txt"])
        'corpus.txt'
    """
    if components.stated(recipe.task, "named_data"):
        parts = parts_of(recipe.table("mixture"))
        named: dict[str, str] = {}
        for one in given:
            name, equals, path = one.partition("=")
            if not equals or name in named:
                what = f"{option} says the data of {name} twice" if equals else f"{one} has no name"
                raise DataError(
                    what, next_step=f"name each part once: {option} {next(iter(parts))}=PATH"
                )
            named[name] = path
        return with_own_data(parts, named) if training else check_names(parts, named)
    if len(given) != 1:
        raise DataError(
            f"{recipe.name} as {recipe.task} reads the data of one {option} PATH, and {len(given)} "
            "are given",
            next_step="put several files into one folder" if given else f"add {option} PATH",
        )
    return given[0]


def check_all_data(
    recipe: Recipe,
    data: Any,
    columns: Mapping[str, str] | None = None,
    problem_type: str | None = None,
) -> None:
    """`check_data`, for each part of a mixture; see there."""
    if not isinstance(data, Mapping):
        check_data(data, recipe.task, columns, recipe.name, problem_type)
        return
    parts = parts_of(recipe.table("mixture"))
    for name, path in data.items():
        _check_exists(path)
        if parts[name].medium is None and Path(path).suffix != ".txt":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the training itself reports them
                next(part_examples(name, parts[name], path))


def check_data(
    path: str,
    task: str,
    columns: Mapping[str, str] | None = None,
    name: str = "this",
    problem_type: str | None = None,
) -> None:
    """Check that a path's first example holds what a task reads; a task of media checks its own.

    Args:
        columns: as in `data.read_examples`.
        name: of the recipe, for a message.
        problem_type: of the recipe: what a label is; see `data.read_examples`.

    Raises:
        UnknownNameError: no such task.
        DataError: no such file, an empty one, a column that is missing. Where the columns are those
            of another task, the next step names it.

    Example:
        >>> check_data("reviews.csv", "text-classification")
    """
    components.check("task", task)
    _check_exists(path)
    fields = components.stated(task, "fields")
    if fields is None or not _of_text(fields) or path.startswith("demo:"):
        return
    if Path(path).suffix == ".txt" and ("text",) in fields:
        return  # one document, however long
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training itself reports them
        try:
            problem_type = problem_type or components.stated(task, "label_problem")
            next(read_examples(path, columns, fields, problem_type=problem_type))
        except DataError as error:
            other = _task_of(path, columns)
            if other not in (None, task):
                error.did_you_mean = None  # a name that is near, and of no use for this
                does = components.stated(task, "does")
                reads = " and ".join(fields[0])
                error.next_step = (
                    f"{name} is a {task} model, which {does or 'reads other data'} and is trained "
                    f"on {reads}; these are columns of {other}: --task {other}"
                )
            raise


def _check_exists(path: str) -> None:
    try:
        check_path(path)
    except DataError as error:
        if not os.path.exists(path):  # the Python API's next step is a list of texts
            error.next_step = "--data takes a .txt, .jsonl, .csv, .tsv or .parquet file or a folder"
        raise


def _of_text(fields) -> bool:
    return not any(name in ("image", "audio", "video") for names in fields for name in names)


def _task_of(path: str, columns: Mapping[str, str] | None) -> str | None:
    """The task whose several fields the first example holds, perhaps by their usual names."""
    try:
        found = next(read_examples(path, columns)).keys()
    except DataError:
        return None
    for task in sorted(components.CORE["tasks"]):
        fields = components.stated(task, "fields") or ()
        if _of_text(fields) and any(
            len(names) > 1 and all(n in found or usual_columns(n, found) for n in names)
            for names in fields
        ):
            return task
    return None
