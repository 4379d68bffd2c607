"""`classify`, `embed_image` and the like of Keras models: the device runtime's own code over Keras.

See `tasks.shared.text_abilities`, which does the same for text.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.media import INPUTS, is_one_medium, many_media, medium_of
from modelzoo.runtime.model import Model
from modelzoo.signature import Signature, TensorSpec
from modelzoo.tasks.shared.keras_engine import KerasEngine, device_model, with_rows

_ROWS = 8  # media in a call, of a list that has as many


def input_specs(kind: str, processing: Mapping, rows: int = 1) -> dict[str, TensorSpec]:
    """The inputs of a signature that reads a medium, as a model's `processing` says.

    Raises:
        ModelzooError: no device reads this kind.

    >>> input_specs("image", {"image": {"size": [224, 192]}})["images"].shape
    (1, 224, 192, 3)
    """
    if kind not in INPUTS:
        raise ModelzooError(f"there is no device signature for {kind}")
    if kind == "audio":
        shape = (rows, processing["audio"]["num_samples"])
        return {"audio": TensorSpec(shape), "num_samples": TensorSpec((rows,), "int32")}
    frames = (processing["video"]["num_frames"],) if kind == "video" else ()
    shape = (rows, *frames, *processing["image"]["size"], 3)
    return {INPUTS[kind]: TensorSpec(shape, "uint8")}


class MediaAnswers:
    """Mixed into a `TaskModel` whose signatures read media and answer in one pass."""

    @property
    def abilities(self) -> tuple[str, ...]:
        """The names of the methods that fit this model, as a bundle of it has them."""
        return self._device().abilities

    def embed_image(self, image) -> np.ndarray:
        """An image's vector (D,), for a list (N, D); see `runtime.Model.embed_image`."""
        return self._device(image).embed_image(image)

    def embed_audio(self, sound, truncate: bool = False) -> np.ndarray:
        """A sound's vector (D,), for a list (N, D); see `runtime.Model.embed_audio`."""
        return self._device(sound).embed_audio(sound, truncate)

    def embed_video(self, video) -> np.ndarray:
        """A video's vector (D,), for a list (N, D); see `runtime.Model.embed_video`."""
        return self._device(video).embed_video(video)

    def _device(self, media=()) -> Model:
        """The runtime's `Model` over this one; for a list of media with rows for several."""
        items = (media,) if is_one_medium(media) else many_media(media)
        rows = _ROWS if len(items) >= _ROWS else 1
        engine = self.compile_once(f"media/{rows}", lambda: KerasEngine(self, self._in(rows)))
        return device_model(self, engine, processing=self.processing())

    def _in(self, rows: int) -> dict[str, Signature]:
        """The export signatures, and those that read media also for several rows."""
        signatures = dict(self.export_signatures())
        for name, signature in list(signatures.items()):
            if rows > 1 and medium_of(signature) is not None:
                signatures[f"{name}_x{rows}"] = with_rows(signature, rows)
        return signatures


class SharedSpaceAnswers(MediaAnswers):
    """For a model that puts media and texts into one space: with what compares the two."""

    def embed_text(self, text, truncate: bool = False) -> np.ndarray:
        """A text's vector (D,), for a list (N, D); see `runtime.Model.embed_text`."""
        return self._device().embed_text(text, truncate)

    def zero_shot(
        self, media, labels, template: str | None = None, kind: str | None = None
    ) -> list:
        """Labels that no training named, and their probabilities; see `runtime.Model.zero_shot`."""
        return self._device(media).zero_shot(media, labels, template, kind)
