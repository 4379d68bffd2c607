"""Data and task of a command line, checked within a second: before anything slow is imported."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from modelzoo.data.media import check_path
from modelzoo.data.raw import read_examples, usual_columns
from modelzoo.errors import DataError
from modelzoo.registry import components

__all__ = ["check_data"]


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
    try:
        check_path(path)
    except DataError as error:
        if not os.path.exists(path):  # the Python API's next step is a list of texts
            error.next_step = "--data takes a .txt, .jsonl, .csv, .tsv or .parquet file or a folder"
        raise
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
