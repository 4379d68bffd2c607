"""What the commands do with a word of the command line: is it a file of the model's, or a text?"""

from __future__ import annotations

import os
from pathlib import Path

from modelzoo.errors import DataError, ModelzooError, nearest
from modelzoo.runtime.abilities.known import ABILITIES
from modelzoo.runtime.media.suffixes import kind_of_file

__all__ = ["ability_for", "near_file", "of_media", "of_text", "path_of"]


def ability_for(text: str, able: tuple[str, ...], labels: list[str] | None = None) -> str:
    """What a model is to do with one input.

    A path that exists is a file where the model reads files; anything else is text.

    Args:
        able: all that it can do.
        labels: to choose from, of a model that was trained for none.

    Raises:
        DataError: what names a file of the model's kind, and is none.
        ModelzooError: labels for a model that takes none; a file of another kind.
    """
    media = of_media(able)
    if labels and of_text(able)[:1] == ["classify"]:
        return "classify"
    if "rank" in able and not of_text(able):
        if not labels:
            raise ModelzooError(
                "this model puts texts in the order in which they answer a question, and there are "
                "no texts",
                next_step='give each with --label "a text"',
            )
        return "rank"
    if labels and "zero_shot" not in able:
        raise ModelzooError(
            "--label does not fit: this model neither compares media with texts, nor says what "
            "follows from a text",
            next_step="leave --label out, or take a model of the task contrastive",
        )
    path = path_of(text)
    if path is None and (kind_of_file(text) or not of_text(able)) and media:
        raise _no_file(text)
    if path is None or not media:
        if labels:
            raise ModelzooError(f"--label is for files, and {text!r} is none")
        return of_text(able)[0]
    if labels:
        return "zero_shot"
    return _of_kind(path, media)


def path_of(text: str) -> Path | None:
    """The file or directory that a text names, if it does."""
    try:
        path = Path(text)
        return path if text and path.exists() else None
    except (OSError, ValueError):  # too long for a name, or a null byte
        return None


def of_media(able: tuple[str, ...]) -> list[str]:
    """Those of a model's abilities that take media."""
    media = [
        name for name, how in ABILITIES.items() if name in able and how.reads in ("media", "both")
    ]
    # A classifier of media embeds them as well; one of texts embeds texts.
    classifies = "classify" in able and media and "embed" not in able
    return ["classify", *media] if classifies else media


def of_text(able: tuple[str, ...]) -> list[str]:
    """Those of a model's abilities that take a text."""
    media = of_media(able)
    return [
        name
        for name, how in ABILITIES.items()
        if name in able
        and (how.reads == "both" or (how.reads in ("text", "either") and name not in media))
    ]


def _of_kind(path: Path, media: list[str]) -> str:
    embeds = [name for name in media if name.startswith("embed_")]
    if len(media) > len(embeds) or len(embeds) == 1:
        return media[0]
    kind = "video" if path.is_dir() else kind_of_file(path)
    if f"embed_{kind}" in embeds:
        return f"embed_{kind}"
    known = " and ".join(name.removeprefix("embed_") for name in embeds)
    raise ModelzooError(f"this model reads {known}, and not such a file", where=path)


def near_file(text: str) -> str | None:
    """The file that a path was meant for, in the same folder."""
    path = Path(text[:255])
    folder = path.parent
    names = os.listdir(folder) if folder.is_dir() and "\0" not in text else []
    near = nearest(path.name, names)
    return near and str(path.with_name(near))


def _no_file(text: str) -> DataError:
    return DataError(
        f"no such file: {text}",
        did_you_mean=near_file(text),
        next_step="this model takes the path of a file",
    )
