"""Folders of images, sounds and videos: by label, or with a caption beside each file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from modelzoo.errors import DataError, warn
from modelzoo.runtime.media.suffixes import IMAGES, SUFFIXES

__all__ = [
    "METADATA",
    "captioned_files",
    "files_of_kind",
    "holds_media",
    "labelled_files",
]

# A table in a folder that says what its files are.
METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")

_SPLITS = {"train", "training", "test", "val", "valid", "validation", "dev"}

Found = tuple[dict, str, None]  # the record, what to call it in an error; its paths are whole


def files_of_kind(folder: Path, kind: str) -> list[Path]:
    """Files under a folder, at any depth, in the order of their names; hidden ones are left out.

    For "video" also the folders that hold nothing but images: a frame each.
    """
    entries = sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    files = [path for path in entries if path.suffix.lower() in SUFFIXES[kind] and path.is_file()]
    if kind != "video":
        return files
    clips = {path for path in entries if path.is_dir() and _is_clip(path)}
    return sorted(clips.union(path for path in files if path.parent not in clips))


def _is_clip(folder: Path) -> bool:
    frames = [path for path in folder.iterdir() if not path.name.startswith(".")]
    stills = {".png", ".jpg", ".jpeg", ".bmp", ".ppm"}
    return bool(frames) and all(path.suffix.lower() in stills for path in frames)


def holds_media(folder: Path, kinds: Sequence[str] = tuple(SUFFIXES)) -> bool:
    """Whether there is a file of one of these kinds under a folder."""
    suffixes = {suffix for kind in kinds for suffix in SUFFIXES[kind]}
    if "video" in kinds:
        suffixes.update(IMAGES)
    return any(path.suffix.lower() in suffixes for path in folder.rglob("*"))


def labelled_files(folder: Path, kind: str) -> Iterator[Found]:
    """A record for each file: the folder directly under `folder` that it stands in is its label.

    Raises:
        DataError: no such folders; folders `train` and `test` in place of labels.
    """
    classes = sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    names = {path.name for path in classes}
    if not names:
        raise DataError(
            "the files stand in no folder that says their label",
            where=folder,
            next_step=f"put them into {folder / 'LABEL'}, or name them in a metadata.csv",
        )
    if names <= _SPLITS:
        raise DataError(
            f"the folders {', '.join(sorted(names))} are parts of a data set, and no labels",
            where=folder,
            next_step=f"take {folder / min(names)} alone; train has --validation for the other",
        )
    left_out = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    for path in classes:
        files = _clips_of(path) if kind == "video" else files_of_kind(path, kind)
        if kind != "video":
            every = (one for one in path.rglob("*") if one.is_file() and one.name[0] != ".")
            left_out += sorted(set(every) - set(files))
        for file in files:
            yield {kind: file, "label": path.name}, str(file), None
    if left_out:
        warn(
            f"{len(left_out)} files in {folder} are left out: not {kind} files in the folder of a "
            f"label; the first is {left_out[0]}"
        )


def _clips_of(folder: Path) -> list[Path]:
    """The clips in a label's folder, which is none itself even if it holds nothing but files."""
    clips: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            clips += [path] if _is_clip(path) else files_of_kind(path, "video")
        elif path.suffix.lower() in SUFFIXES["video"]:
            clips.append(path)
    return clips


def captioned_files(folder: Path, kinds: Sequence[str]) -> Iterator[Found]:
    """A record for each name: `apple.png`, `apple.ogg` and `apple.txt` are one example.

    Raises:
        DataError: a file without a caption, or two of one kind with the same name.
    """
    groups: dict[Path, dict[str, Path]] = {}
    for kind in kinds:
        for file in files_of_kind(folder, kind):
            stem = file.with_suffix("") if file.is_file() else file
            if kind in groups.setdefault(stem, {}):
                raise DataError(
                    f"{groups[stem][kind].name} and {file.name} would have one caption",
                    where=file.parent,
                    next_step="rename one, or name the files in a metadata.csv",
                )
            groups[stem][kind] = file
    for stem in sorted(groups):
        record, first = dict(groups[stem]), next(iter(groups[stem].values()))
        caption = stem.with_name(stem.name + ".txt")
        if not caption.is_file():
            raise DataError(
                f"{first.name} has no caption",
                where=first,
                next_step=f"write one into {caption.name} next to it, "
                f"or name files and captions in {folder / 'metadata.csv'}",
            )
        try:
            record["text"] = caption.read_text("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8: {error}", where=caption) from error
        yield record, str(caption), None
