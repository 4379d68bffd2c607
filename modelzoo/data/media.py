"""Raw images, sounds and videos, whatever form they have, as a list of examples.

An example holds a medium (`image`, `audio`, `video`) and what belongs to it: a `label`, a `text`.
The files are found here, and read when batches are made: see `data.media_rows`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelzoo.data.files import READERS, reader_of
from modelzoo.data.media_folders import METADATA, captioned_files, holds_media, labelled_files
from modelzoo.data.raw import alike, alternatives, missing_column, path_records, read_examples
from modelzoo.data.values import as_label, as_weight, describe
from modelzoo.errors import DataError, nearest

__all__ = ["KINDS", "check_path", "media_of", "read_media_examples"]

KINDS = ("image", "audio", "video")

# What data sets call these columns. A column with the field's own name comes first.
_ALSO = {
    "image": ("file_name", "image_path", "path", "file"),
    "audio": ("file_name", "audio_path", "path", "file"),
    "video": ("file_name", "video_path", "path", "file"),
    "text": ("caption", "transcript", "sentence"),
    "label": ("class",),
}


def read_media_examples(
    raw: object,
    fields: Sequence[str] | Sequence[Sequence[str]],
    columns: Mapping[str, str] | None = None,
    *,
    weighed: bool = False,
) -> list[dict[str, Any]]:
    """Raw data as examples with media in them.

    Args:
        raw: a path to one of
            - a folder with a folder for each label: `photos/cat/1.png`;
            - a folder with `metadata.csv`, `.tsv`, `.jsonl` or `.parquet`, which names its files;
            - a folder of files with a caption beside each: `apple.png`, `apple.txt`;
            - such a table alone, or a folder of tables; paths in it are relative to it;
            or an iterable of dicts or tuples, or a `tf.data.Dataset` of the same, not batched.
        fields: the fields that an example needs, or several such sets of which it must hold one,
            the first that fits: `(("image", "text", "audio"), ("image", "text"))`. A medium that is
            missing in a row (an empty cell, None) counts as not there.
        columns: field -> the column that holds it. Without it, an image may be under `image`,
            `file_name` or `path`, a text under `text` or `caption`, and so on.
        weighed: with `weight`, a float, where there is a column of that name.

    Returns:
        Dicts of exactly the fields of one set. A medium is a `Path` of a file that exists, or
        `bytes` of such a file, an array, (samples, sample rate), or a list of frames; a text is a
        `str`; a label an `int` or a `str`.

    Raises:
        DataError: nothing to read, a file that is not there, a missing column, an empty caption.

    Example:
        >>> read_media_examples("photos", ("image", "label"))[0]
        {'image': PosixPath('photos/cat/1.png'), 'label': 'cat'}
    """
    wanted = alternatives(fields)
    found = [
        _example(record, where, base, dict(columns or {}), wanted, weighed)
        for record, where, base in _records(raw, wanted)
    ]
    if not found:
        raise DataError("there is no example in the data", where=_name(raw))
    return found


def check_path(path: str | os.PathLike) -> None:
    """Reject a path with nothing to read, before anything slow begins.

    Raises:
        DataError: no such file or folder, or an empty one.
    """
    if not (Path(path).is_dir() and holds_media(Path(path))):
        read_examples(path)


def media_of(example: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(kind, source) of each medium in an example."""
    return ((kind, example[kind]) for kind in KINDS if kind in example)


def _name(raw: object) -> str:
    return str(raw) if isinstance(raw, str | os.PathLike) else f"the {type(raw).__name__}"


# === Where the records come from ===


def _records(raw, wanted) -> Iterator[tuple[dict, str, Path | None]]:
    """(record, place for an error to name, folder that its paths are relative to)."""
    if isinstance(raw, str | os.PathLike):
        yield from _records_of_path(Path(raw), wanted)
        return
    if isinstance(raw, Mapping | bytes) or not isinstance(raw, Iterable):
        raise DataError(
            f"raw data must be a path or an iterable of examples, not {type(raw).__name__}",
            next_step=f'pass a folder, or a list: [{{"{wanted[0][0]}": "file", …}}, …]',
        )
    items = raw.as_numpy_iterator() if hasattr(raw, "as_numpy_iterator") else raw
    for number, item in enumerate(items, start=1):
        yield _record(item, f"example {number}", wanted), f"example {number}", None


def _records_of_path(path: Path, wanted) -> Iterator[tuple[dict, str, Path]]:
    if not path.is_dir():
        for record, where in path_records(path, []):
            yield record, where, path.parent
        return
    tables = [path / name for name in METADATA if (path / name).is_file()]
    kinds = [kind for kind in KINDS if any(kind in names for names in wanted)]
    if tables:
        yield from _table(tables[0])
    elif not holds_media(path, kinds):
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in READERS)
        if not files:
            raise DataError(
                f"no {' or '.join(kinds)} file in this directory, and no table that names some",
                where=path,
                next_step=f"put the files into {path / 'LABEL'}, or name them in a metadata.csv",
            )
        yield from _tables(files)
    elif any("label" in names for names in wanted):
        yield from labelled_files(path, kinds[0])
    elif any("text" in names for names in wanted):
        yield from captioned_files(path, kinds)
    else:
        raise DataError(
            f"a folder says nothing of {', '.join(wanted[0])}",
            where=path,
            next_step=f"name the files in {path / 'metadata.csv'}: {','.join(wanted[0])}",
        )


def _tables(files: Sequence[Path]) -> Iterator[tuple[dict, str, Path]]:
    """The records of several tables, with the folder of each."""
    base: list[Path] = []

    def records(file: Path) -> Iterator[tuple[dict, str]]:
        base[:] = [file.parent]
        yield from reader_of(file)(file, ())

    return ((*found, base[0]) for found in alike(map(records, files), "label"))


def _table(path: Path) -> Iterator[tuple[dict, str, Path]]:
    return ((record, where, path.parent) for record, where in reader_of(path)(path, ()))


def _record(item: object, where: str, wanted) -> dict:
    if isinstance(item, Mapping):
        return dict(item)
    if isinstance(item, tuple | list):
        for names in wanted:
            if len(names) == len(item):
                return dict(zip(names, item, strict=True))
    raise DataError(
        f"an example must be a dict or a tuple, not {describe(item)}",
        where=where,
        next_step=f"pass {' or '.join(str(tuple(names)) for names in wanted)}",
    )


# === What an example holds ===


def _example(
    record: dict[str, Any],
    where: str,
    base: Path | None,
    columns: dict[str, str],
    wanted,
    weighed: bool,
) -> dict[str, Any]:
    for field, column in columns.items():
        if column not in record:
            raise missing_column(column, record, where, field)
    every = dict.fromkeys(name for names in wanted for name in names)
    column_of = {name: columns.get(name) or _column(name, record) for name in every}
    full = {name for name, column in column_of.items() if column and not _empty(record[column])}
    names = next((names for names in wanted if full.issuperset(names)), None)
    if names is None:
        closest = max(wanted, key=lambda names: len(full.intersection(names)))
        name = next(name for name in closest if name not in full)
        if column_of[name] is None:
            raise missing_column(name, record, where)
        raise DataError(
            f"{column_of[name]!r} is empty: this example has no {name}",
            where=where,
            next_step=f"fill it in, or leave out the examples without {name}",
        )
    found = {name: _value(name, record[column_of[name]], where, base) for name in names}
    if weighed and "weight" in record:
        found["weight"] = as_weight(record["weight"], where)
    return found


def _column(name: str, record: Mapping) -> str | None:
    return next((column for column in (name, *_ALSO.get(name, ())) if column in record), None)


def _empty(value: object) -> bool:
    if isinstance(value, Mapping):  # Hugging Face's {"bytes": …, "path": …}
        return all(part is None for part in value.values())
    return value is None or (isinstance(value, str | bytes) and not value.strip())


def _value(name: str, value: object, where: str, base: Path | None) -> Any:
    if getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy scalar
    if name in KINDS:
        return _medium(name, value, where, base)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if name == "label":
        return as_label(value, where)
    if not isinstance(value, str):
        raise DataError(f"{name!r} must be text, not {describe(value)}", where=where)
    return value


def _medium(kind: str, value: object, where: str, base: Path | None) -> Any:
    if isinstance(value, Mapping) and {"array", "sampling_rate"} <= value.keys():
        return value["array"], int(value["sampling_rate"])
    if isinstance(value, Mapping) and {"bytes", "path"} & value.keys():
        value = value["path"] if value.get("bytes") is None else value["bytes"]
    if isinstance(value, bytes):
        return _path_in_bytes(value) or value
    if isinstance(value, str | os.PathLike):
        return _existing(Path(value), where, base)
    if kind == "video" and isinstance(value, list):
        return [_medium("image", frame, where, base) for frame in value]
    if hasattr(value, "__array__") or hasattr(value, "tobytes") or isinstance(value, tuple):
        return value
    raise DataError(
        f"{kind!r} must be a path, the bytes of a file, or an array, not {describe(value)}",
        where=where,
    )


def _path_in_bytes(value: bytes) -> Path | None:
    """A path, which `tf.data` hands out as bytes too; no file's content is one that exists."""
    if len(value) > 4096 or b"\0" in value:
        return None
    path = Path(os.fsdecode(value))
    try:
        return path if path.exists() else None
    except OSError:  # a name that is too long
        return None


def _existing(path: Path, where: str, base: Path | None) -> Path:
    full = path if base is None else base / path
    if full.exists():
        return full
    folder = full.parent
    near = nearest(full.name, os.listdir(folder)) if folder.is_dir() else None
    raise DataError(
        f"no such file: {full}",
        where=where,
        did_you_mean=near and str(path.with_name(near)),
        next_step=None if near else "paths in a table are relative to the table's folder",
    )
