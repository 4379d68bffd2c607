"""From a text, perhaps with an image or a video, to a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from modelzoo.runtime.abilities.sources import Source, caption_sources
from modelzoo.runtime.generation.loop import Written
from modelzoo.signature import Signature, TensorSpec
from modelzoo.tasks.seq2seq_lm import Seq2SeqLM
from modelzoo.tasks.shared.media_abilities import input_specs
from modelzoo.tasks.shared.step_signatures import memory_specs, step_signatures
from modelzoo.tasks.shared.stepper import compiled, int_tensor

KINDS = ("image", "video")


@keras.saving.register_keras_serializable("modelzoo")
class MultimodalLM(Seq2SeqLM):
    """A `MultimodalEncoderDecoder` that writes a target after reading a source.

    A source is a text, or a dict of a text and a medium: `{"text": "What is this?", "image":
    "photo.png"}`, or `"video"`; `generate`, `score(given=...)` and `rank` take both.

    Args:
        caption_prompt: the text that `caption` reads with an image where it is given none.

    Call: `{"token_ids": (B, S), "padding_mask": (B, S), "frames": (B, F, H, W, 3), "frame_mask":
    (B, F), "decoder_token_ids": (B, T), "decoder_padding_mask": (B, T)}` -> logits
    (B, T, vocab_size). `frames` may be left out.
    """

    def __init__(self, backbone, caption_prompt: str = "", **kwargs):
        super().__init__(backbone, **kwargs)
        self.caption_prompt = caption_prompt

    def get_config(self) -> dict:
        return {**super().get_config(), "caption_prompt": self.caption_prompt}

    def processing(self) -> dict:
        """As in every model, and `caption_prompt`."""
        return {**super().processing(), "caption_prompt": self.caption_prompt}

    def call_inputs(self) -> dict[str, keras.InputSpec]:
        """As in every model, with any number of frames."""
        found = super().call_inputs()
        size = found["frames"].shape[2:]
        found["frames"] = keras.InputSpec("uint8", (None, None, *size), name="frames")
        return {**found, "frame_mask": keras.InputSpec("int32", (None, None), name="frame_mask")}

    def caption(
        self, medium, prompt=None, *, kind: str | None = None, stream: bool = False, **sampling
    ) -> Written:
        """What the model says of an image or a video, or answers to a question about it.

        Arguments and return values as `runtime.Model.caption`.
        """
        sources = caption_sources(medium, prompt, kind, KINDS, self.caption_prompt)
        return self.generate(sources, stream=stream, **sampling)

    # === Sources ===

    def _given(self, given) -> str | Source | None:
        return given if given is None or isinstance(given, str) else Source.of(given, KINDS)

    def _encoded(self, source) -> tuple[list[int], np.ndarray | None]:
        """Token ids, and frames (F, H, W, 3) or `None`."""
        source = Source.of(source, KINDS)
        return super()._encoded(source.text), source.frames(self.processing())

    def _memory(self, sources: Sequence) -> tuple:
        pairs = [one if isinstance(one, tuple) else (one, None) for one in sources]
        token_ids, mask = self._pad([ids for ids, _ in pairs])
        inputs = [int_tensor(token_ids), int_tensor(mask)]
        most = max(0 if frames is None else len(frames) for _, frames in pairs)
        if most:
            inputs += self._padded_frames([frames for _, frames in pairs], most)
        encode = self.compile_once("encode", lambda: compiled(self.backbone.encode, self))
        return (encode(*inputs),)

    def _padded_frames(self, films: list, most: int) -> list:
        size = self.backbone.processing["image"]["size"]
        frames = np.zeros((len(films), most, *size, 3), np.uint8)
        mask = np.zeros((len(films), most), np.int32)
        for row, film in enumerate(films):
            if film is not None:
                frames[row, : len(film)], mask[row, : len(film)] = film, 1
        return [ops.convert_to_tensor(frames), int_tensor(mask)]

    # === On a device ===

    def export_signatures(
        self,
        max_length: int | None = None,
        source_length: int | None = None,
        windows: tuple[int, ...] | None = None,
        prefill_lengths: tuple[int, ...] = (16,),
        kv_cache: str = "float32",
        verify_lengths: tuple[int, ...] | None = None,
        score_lengths: tuple[int, ...] | None = None,
    ) -> dict:
        """`encode` of a text, `encode_image` and `encode_video` of a text with a medium, and steps.

        The steps are those of `Seq2SeqLM.export_signatures`: `prefill_{T}`, `decode`, `verify_{T}`,
        `score_{T}`. The memory is as long as that of a video for all three encoders, so one set of
        steps serves them; `memory_mask` says which of it is real.

        Args: as `Seq2SeqLM.export_signatures`.
        """
        backbone = self.backbone
        slots = min(max_length or backbone.max_length, backbone.max_length)
        length = min(source_length or slots, backbone.max_length)
        total = length + backbone.num_frames * backbone.patches_per_frame
        ids = TensorSpec((1, length), "int32")
        memory = {
            **memory_specs(backbone, total),
            "memory_mask": TensorSpec((1, total), "int32"),
        }
        text = {"token_ids": ids, "padding_mask": ids}

        def encode(inputs):
            frames = inputs.get("frames")
            if "images" in inputs:
                frames = ops.expand_dims(inputs["images"], 1)
            found = backbone.encode(inputs["token_ids"], inputs["padding_mask"], frames)
            return {name: _extended(found[name], spec.shape) for name, spec in memory.items()}

        def step(token_ids, positions, cache, inputs):
            read = {name: inputs[name] for name in memory}
            return backbone.step(token_ids, positions, cache, read)

        steps = step_signatures(
            step,
            backbone.init_cache,
            slots,
            windows,
            prefill_lengths,
            memory,
            kv_cache,
            verify_lengths,
            score_lengths,
        )
        media = {
            f"encode_{kind}": Signature(encode, {**text, **input_specs(kind, self.processing())})
            for kind in KINDS
        }
        return {"encode": Signature(encode, text), **media, **steps}


def _extended(x, shape: tuple[int, ...]) -> Any:
    """With zeros at the end of each axis, up to a shape."""
    return ops.pad(x, [(0, size - own) for own, size in zip(x.shape, shape, strict=True)])
