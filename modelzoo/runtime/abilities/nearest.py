"""The nearest of a gallery: from a text, an image or a sound to the names that a bundle carries."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, overload

from modelzoo.errors import BundleError, ModelzooError
from modelzoo.runtime.abilities.media import (
    MediaAbilities,
    is_one_medium,
    many_media,
    ranked,
    scale,
)
from modelzoo.runtime.media.suffixes import kind_of_file
from modelzoo.runtime.search.gallery import Gallery, read_gallery

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Labels, Medium, Several


class NearestAbility(MediaAbilities):
    """What `runtime.Model` does with a gallery: mixed into it."""

    @overload
    def nearest(
        self, query: Medium, top: int | None = 5, truncate: bool = False, kind: str | None = None
    ) -> Labels: ...
    @overload
    def nearest(
        self,
        query: Several[Medium],
        top: int | None = 5,
        truncate: bool = False,
        kind: str | None = None,
    ) -> list[Labels]: ...
    def nearest(
        self, query, top: int | None = 5, truncate: bool = False, kind: str | None = None
    ) -> list:
        """The names of the bundle's gallery that are nearest to a query, the nearest first.

        Args:
            query: a text, a medium that the model embeds, or a list of either. A str is a file
                where it ends like one that the model reads (`photo.png`), and a text otherwise.
            top: only this number of names; `None` for all.
            truncate: cut a text, or a sound, that is too long.
            kind: "text", "image", "audio" or "video", where the query does not show it.

        Returns:
            [(name, probability)], with probabilities over the whole gallery; for a list of queries
            a list of these.

        Raises:
            DataError: a medium that cannot be read.
            ModelzooError: a bundle without a gallery.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("emoji.bundle").nearest("a dog", top=1)
            [('🐶 dog', 0.98...)]
        """
        self._need("nearest")
        one = is_one_medium(query)
        items = [query] if one else many_media(query)
        answers = [self._nearest(item, top, truncate, kind) for item in items]
        return answers[0] if one else answers

    def _nearest(self, item: Medium, top: int | None, truncate: bool, kind: str | None) -> Labels:
        gallery, kind = self._gallery, kind or self._kind_of_query(item)
        if kind == "text":
            vector = self.embed(item, truncate)  # pyright: ignore[reportArgumentType]
        elif kind == "audio":
            vector = self.embed_audio(item, truncate)
        else:
            vector = self.embed_image(item) if kind == "image" else self.embed_video(item)
        if vector.shape != gallery.vectors.shape[1:]:
            raise BundleError(
                f"the model's vectors have {len(vector)} numbers, the gallery's "
                f"{gallery.vectors.shape[1]}",
                where=self.bundle.directory,
            )
        how = self.bundle.processing.get("contrastive") or {}
        return ranked(scale(how, kind) * gallery.cosines(vector), gallery.names, how)[:top]

    def _kind_of_query(self, item: Medium) -> str:
        kinds = [name[6:] for name in self.abilities if name.startswith("embed_")]
        if isinstance(item, str):
            kind = kind_of_file(item)
            return kind if kind in kinds else "text"
        return self._kind_of([item])

    @cached_property
    def _gallery(self) -> Gallery:
        found = read_gallery(self.bundle)
        if found is None:
            raise ModelzooError(f"{self.manifest['name']} has no gallery")
        return found
