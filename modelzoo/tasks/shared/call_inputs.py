"""What a task's model is called with, as Keras describes inputs."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from modelzoo.tasks.shared.media_abilities import input_specs

__all__ = ["call_inputs", "text_specs"]


def call_inputs(backbone, processing: Mapping) -> dict[str, keras.InputSpec]:
    """Name -> shape and dtype; `None` stands for the rows, and for the tokens of a text.

    Args:
        processing: how media become inputs; see `TaskModel.processing`.
    """
    kinds = [kind for kind in ("image", "audio", "video") if kind in processing]
    if "video" in kinds:
        kinds.remove("image")  # says how a frame is made
    found = {}
    for kind in kinds:
        for name, spec in input_specs(kind, processing).items():
            found[name] = keras.InputSpec(spec.dtype, (None, *spec.shape[1:]), name=name)
    return found | (text_specs(backbone) if getattr(backbone, "vocab_size", None) else {})


def text_specs(backbone, prefix: str = "") -> dict[str, keras.InputSpec]:
    """The inputs of a text: ids and mask, and segments where the backbone knows some."""
    names = [f"{prefix}token_ids", f"{prefix}padding_mask"]
    if getattr(backbone, "num_segments", 0) > 1:
        names.append("segment_ids")
    return {name: keras.InputSpec("int32", (None, None), name=name) for name in names}
