"""modelzoo run MODEL FILE.csv: the rows of a table through a model, and the answers as a table."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from modelzoo.cli.elapsed import CLEAR_LINE, clock
from modelzoo.cli.table_files import read_rows, write_rows
from modelzoo.data.raw import usual_columns
from modelzoo.errors import DataError, ModelzooError, nearest
from modelzoo.runtime.abilities.known import ABILITIES

__all__ = ["run_table", "summary"]

CHUNK = 32  # rows of a call
_PAIR = ("text_a", "text_b")
_QUESTION = ("question", "context")
_SINGLE = ("text", "source")


def run_table(
    model: Any, ability: str, options: dict, args: argparse.Namespace
) -> Iterator[tuple[Any, Any]]:
    """(input, answer) of each row, in the order of the file; with `--out` they are written as well.

    Raises:
        DataError: the file cannot be read, or has no such column.
        ModelzooError: what the model says of a row, with the row's place.
    """
    records = list(read_rows(Path(args.input)))
    if not records:
        raise DataError("there is no row in the file", where=args.input)
    columns = _columns(records[0][0], args, ability)
    items = [_item(record, columns, where) for record, where in records]
    answers = []
    for at, answer in enumerate(_answers(model, ability, options, items, records)):
        answers.append(answer)
        yield items[at], answer
    if args.out is not None:
        added = [_added(ability, answer) for answer in answers]
        write_rows(Path(args.out), [record for record, _ in records], added)


def summary(answers: list, ability: str, path: str, seconds: float) -> str:
    """What was written, in a line: rows, time, and how often each label is the first."""
    text = f"{path}: {len(answers):,} rows in {clock(seconds)}"
    if ABILITIES[ability].gives != "label":
        return text
    first = (answer[0][0] if answer else "no label" for answer in answers)
    counts = Counter(map(str, first)).most_common(5)
    return f"{text}; {', '.join(f'{label} {count:,}' for label, count in counts)}"


def progress(total: int) -> Callable[[int], None]:
    """Prints how many rows are done, and the time left, where a person waits."""
    begun = time.monotonic()

    def show(done: int) -> None:
        if sys.stderr.isatty():
            left = (time.monotonic() - begun) * (total - done) / max(done, 1)
            text = f"modelzoo: {done:,} of {total:,} rows, {clock(left)} left"
            print(
                f"{CLEAR_LINE}{text if done < total else ''}", end="", file=sys.stderr, flush=True
            )

    return show


def _columns(record: dict, args: argparse.Namespace, ability: str) -> tuple[str, ...]:
    """The column that the model reads, or the two of a pair, or of a question and its context."""
    if args.column is not None:
        wanted = (args.column,)
    elif ability == "answer":
        wanted = _QUESTION if args.context is None else _QUESTION[:1]
    elif all(name in record for name in _PAIR):
        wanted = _PAIR
    else:
        single = ("query", *_SINGLE) if ability == "rank" else _SINGLE
        known = [name for name in single if name in record]
        usual = usual_columns("text", map(str, record))
        wanted = tuple(known[:1]) or tuple(usual if len(usual) == 1 else ())
        wanted = wanted or (tuple(record) if len(record) == 1 else ())
    if wanted and all(name in record for name in wanted):
        return wanted
    missing = args.column or next((name for name in wanted if name not in record), "text")
    raise DataError(
        f"there is no column {missing!r}; the columns are {', '.join(map(str, record))}",
        where=args.input,
        did_you_mean=nearest(missing, map(str, record)),
        next_step="rename it, or give one text for all questions: --context FILE"
        if ability == "answer" and missing == "context"
        else f"--column {nearest(missing, map(str, record)) or next(iter(record), 'NAME')}",
    )


def _item(record: dict, columns: tuple[str, ...], where: str) -> Any:
    texts = tuple(record.get(name) for name in columns)
    for name, text in zip(columns, texts, strict=True):
        if not isinstance(text, str) or not text.strip():
            raise DataError(
                f"the column {name!r} holds no text here",
                where=where,
                next_step="leave the row out",
            )
    return texts if len(texts) > 1 else texts[0]


def _answers(model, ability: str, options: dict, items: list, records: list) -> Iterator[Any]:
    method, show = getattr(model, ability), progress(len(items))
    if ability == "answer" and "context" not in options:
        method = partial(_answer_pairs, model)
    elif ability == "rank":
        method = partial(_rank_each, model)
    for start in range(0, len(items), CHUNK):
        show(start)
        chunk = items[start : start + CHUNK]
        try:
            yield from method(chunk, **options)
        except ModelzooError:
            for item, (_, where) in zip(chunk, records[start:], strict=False):
                try:
                    method(item, **options)
                except ModelzooError as error:
                    error.where = where
                    raise
            raise
    show(len(items))


def _answer_pairs(model, pairs, **options) -> Any:
    """The answers to (question, context), or to a list of these."""
    if isinstance(pairs, tuple):
        return model.answer(*pairs, **options)
    return model.answer(*map(list, zip(*pairs, strict=True)), **options)


def _rank_each(model, queries, **options) -> Any:
    """The candidates in their order for a query, or for each of a list."""
    if isinstance(queries, str):
        return model.rank(queries, **options)
    return [model.rank(query, **options) for query in queries]


def _added(ability: str, answer: Any) -> dict:
    """The columns that an answer adds."""
    gives = ABILITIES[ability].gives
    if gives == "text":
        return {"output": answer}
    if gives == "vector":
        return {"embedding": [float(number) for number in answer]}
    if gives == "span":
        return {"spans": answer}
    if answer and isinstance(answer[0], list):  # several masks
        return {f"{gives}s": [[[name, share] for name, share in block] for block in answer]}
    added = {} if answer else {gives: "", "probability": ""}
    for rank, one in enumerate(answer, start=1):
        end = "" if rank == 1 else f"_{rank}"
        if gives == "answer":
            added |= {f"answer{end}": one.text, f"start{end}": one.start}
            added |= {f"probability{end}": one.score}
            continue
        name, share = one
        added |= {f"{gives}{end}": name, f"probability{end}": share}
    return added
