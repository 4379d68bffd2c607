"""The part of `modelzoo search` that looks for pictures and sounds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelzoo.cli.common import printable
from modelzoo.cli.media_inputs import path_of
from modelzoo.errors import ModelzooError
from modelzoo.runtime.media.suffixes import kind_of_file

__all__ = ["kinds_in", "search_media"]


def kinds_in(path: str, able: tuple[str, ...]) -> list[str]:
    """The kinds of files in a folder that a model embeds; none where texts are to be searched."""
    root = Path(path)
    files = [root] if root.is_file() else root.rglob("*")
    found = {kind_of_file(file) for file in files}
    return [kind for kind in ("image", "audio") if kind in found and f"embed_{kind}" in able]


def search_media(args: argparse.Namespace, model, kinds: list[str]) -> tuple[list, int]:
    """What was found, and how many files there are.

    Raises:
        DataError: a file that cannot be read, unless those are to be skipped.
        ModelzooError: a query that the model does not embed.
    """
    from modelzoo.cli.search_index import Progress, open_index
    from modelzoo.runtime.search.index import Index, vectors_of
    from modelzoo.runtime.search.media import contact_sheet, find_media, media_embedder

    query = _query_vector(model, args.query)
    files = find_media(args.path, kinds)
    passages = [file.passage for file in files]
    known, keep = open_index(args)
    bad = _report if args.on_bad_file == "skip" else None
    vectors = vectors_of(
        passages,
        media_embedder(model, files, len(query), bad),
        known,
        # A file that could not be read is tried again, and reported again.
        keep=keep and (lambda kept: keep({key: v for key, v in kept.items() if v.any()})),
        progress=Progress("files"),
    )
    readable = vectors.any(axis=1)
    index = Index(vectors[readable], [passages[row] for row in readable.nonzero()[0]])
    hits = index.search(query, args.top)
    if args.sheet:
        contact_sheet(hits, args.sheet)
    return hits, len(files)


def _query_vector(model, query: str):
    """The query's vector (D,), of the file that it names or of its words."""
    path, kind = path_of(query), kind_of_file(query)
    embed = getattr(model, f"embed_{kind}", None) if path and kind else None
    if embed is not None:
        return embed(path)
    if "embed_text" not in model.abilities:
        raise ModelzooError(
            "this model does not embed text, so the query must be a file",
            next_step=f'modelzoo search MODEL FILE --in FOLDER, and no words such as "{query}"',
        )
    return model.embed_text(query)


def _report(error) -> None:
    what = f"{error.where}: {error.what}" if error.where else error.what
    print(f"note: left out: {printable(what)}", file=sys.stderr)
