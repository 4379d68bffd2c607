"""Examples of a question, a context and the answers in it, checked: SQuAD's files and flat tables.

An example is `{"question", "context", "answers": [{"text", "start"}, …]}`, with `start` the
character of the context where the answer begins; no answers say that the context holds none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelzoo.data.files import Record, no_reader, read_lines
from modelzoo.errors import DataError, parsing

__all__ = ["answered_example", "read_squad"]

_AROUND = 12  # characters of a context that a message shows


def answered_example(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The example of a record with `question`, `context`, and `answers` or `answer` and `start`.

    Args:
        record: `answers` is a list of tables `{"text", "start"}`, or as SQuAD calls it
            `{"text", "answer_start"}`; or one table of lists, as in `datasets`. `answer` is empty
            for no answer.

    Raises:
        DataError: an empty question or context; an answer that is not in the context where it is
            said to be.

    >>> record = {"question": "Who?", "context": "It is Ann.", "answer": "Ann", "start": "6"}
    >>> answered_example(record, "qa.csv:2")["answers"]
    [{'text': 'Ann', 'start': 6}]
    """
    for name in ("question", "context"):
        if not record[name].strip():
            raise DataError(f"the {name} is empty", where=where, next_step="leave the row out")
    context = record["context"]
    if "answers" in record:
        stated = list(_listed(record["answers"], where))
    else:
        empty = _is_empty(record["answer"])
        stated = [] if empty else [(record["answer"], record["start"])]
    answers = [
        {"text": text, "start": _place(context, text, start, where)} for text, start in stated
    ]
    return {"question": record["question"], "context": context, "answers": answers}


def read_squad(path: Path, wanted: object = ()) -> Iterator[Record]:
    """The questions of a file of SQuAD 1.1 or 2.0, as `answered_example` takes them.

    Raises:
        DataError: at once where it is not JSON, or has no list `data`; when the iteration meets
            what else is missing.
    """
    text = "".join(read_lines(path))
    with parsing(path, DataError, "the file is not JSON"):
        content = json.loads(text)
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise no_reader(path)
    return _questions(content, path)


def _questions(content: dict, path: Path) -> Iterator[Record]:
    with parsing(path, DataError, "this is not a file of SQuAD's form"):
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for number, asked in enumerate(paragraph["qas"], start=1):
                    record = {"question": asked["question"], "context": paragraph["context"]}
                    impossible = bool(asked.get("is_impossible"))
                    record["answers"] = [] if impossible else asked["answers"]
                    yield record, f"{path}, question {asked.get('id', number)}"


def _listed(answers: Any, where: str) -> Iterator[tuple[Any, Any]]:
    """(text, start) of each."""
    if isinstance(answers, Mapping):  # of lists
        texts, starts = answers.get("text", ()), answers.get("answer_start", answers.get("start"))
        starts = [] if starts is None else list(starts)
        if len(texts) != len(starts):
            raise DataError("'answers' does not have as many texts as starts", where=where)
        answers = [{"text": t, "start": s} for t, s in zip(texts, starts, strict=True)]
    if not isinstance(answers, list | tuple):
        raise DataError(
            f"'answers' must be a list of tables, not {type(answers).__name__}",
            where=where,
            next_step='write each answer as {"text": "Ann", "start": 6}',
        )
    for answer in answers:
        if not isinstance(answer, Mapping) or "text" not in answer:
            raise DataError(
                f"an answer must be a table with 'text' and 'start', not {answer!r}",
                where=where,
                next_step='write each answer as {"text": "Ann", "start": 6}',
            )
        yield answer["text"], answer.get("start", answer.get("answer_start"))


def _place(context: str, text: object, start: object, where: str) -> int:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"an answer must be text, not {text!r}", where=where)
    try:
        place = int(float(start))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"'start' must be the character where the answer begins, not {start!r}",
            where=where,
            next_step=_where_it_is(context, text),
        ) from None
    if place >= 0 and context.startswith(text, place):
        return place
    found = context[max(place, 0) : max(place, 0) + min(len(text), 2 * _AROUND)]
    raise DataError(
        f"the answer {text!r} is not at character {place} of its context: {found!r} is there",
        where=where,
        next_step=_where_it_is(context, text),
    )


def _where_it_is(context: str, text: str) -> str:
    places, at = [], context.find(text)
    while at >= 0 and len(places) < 4:
        places.append(at)
        at = context.find(text, at + 1)
    if not places:
        return "write the answer as it stands in the context, or leave the row out"
    stated = ", ".join(map(str, places[:3])) + (" …" if len(places) > 3 else "")
    return f"the context has this text at {stated}: count characters, not bytes, from 0"


def _is_empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
