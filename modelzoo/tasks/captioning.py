"""Text about an image: captions, and answers to questions about it (visual QA)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from modelzoo.data.batches import Batches
from modelzoo.runtime.abilities.captioning import captions, frame_of, framed, take_in
from modelzoo.runtime.generation.loop import Written
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.signature import Signature, Tensor, TensorSpec
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.shared.checkpoints import generation_config
from modelzoo.tasks.shared.scores import with_perplexity
from modelzoo.tasks.shared.step_signatures import (
    all_windows,
    memory_specs,
    state_specs,
    step_signatures,
)
from modelzoo.tasks.shared.stepper import KerasStepper, compile_steps, compiled, int_tensor, window

ROWS = 32  # images that a Keras model captions at a time
_BEHIND_IMAGE = 16  # slots for text that the smallest cache with an image in it has at least


@keras.saving.register_keras_serializable("modelzoo")
class CaptionModel(TaskModel):
    """A `Captioner` or a `PrefixDecoder`, and what it reads before it writes.

    Args:
        template: see `runtime.abilities.captioning.frame_of`.

    Call: `{"images": (B, H, W, 3), "token_ids": (B, T), "padding_mask": (B, T)}` -> logits
    (B, T, vocab_size).
    """

    def __init__(self, backbone, template: str | None = None, **kwargs):
        super().__init__(backbone, **kwargs)
        self.template = template
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        return self.backbone.logits(self.backbone(inputs, training=training))

    def get_config(self) -> dict:
        return {**super().get_config(), "template": self.template}

    def processing(self) -> dict:
        """As in every model; with a tokenizer also `caption`, what frames a prompt."""
        found = super().processing()
        if self.tokenizer is not None:
            found["caption"] = self.frame()
        return found

    def frame(self) -> dict:
        """See `runtime.abilities.captioning.frame_of`."""
        backbone = self.backbone
        return frame_of(
            self.need_tokenizer(),
            self.template,
            backbone.image_tokens,
            getattr(backbone, "image_token", None),
        )

    def caption(self, image, prompt=None, *, stream: bool = False, **sampling) -> Written:
        """What the model says of an image, or answers to a question about it.

        Args:
            image: a path, the bytes of a file, an array (H, W, 3), or a list of them.
            prompt: a question, or how the text begins; for several images one for all, or a list.
            stream: give an iterator over pieces instead; for a list, over (row, piece).
            **sampling: `max_new_tokens`, `temperature` and so on; see `runtime.Sampling`.

        Returns: str for one image, list of str for a list. Rows of a batch get what they get alone.

        Raises:
            DataError: a file that cannot be read.
            OverflowTextError: the prompt is longer than the model's window.
        """
        return captions(
            self.stepper,
            self.need_tokenizer(),
            self.processing(),
            image,
            prompt,
            max_length=self.backbone.max_length,
            rows=ROWS,
            stream=stream,
            generation=self.generation,
            **sampling,
        )

    # === Steps ===

    def first_tokens(self) -> list[int]:
        """What precedes a text without a prompt, the image aside."""
        return framed(self.frame(), [], image=False)

    def media_stepper(self, source, prompt: list[int], sampling: Sampling) -> KerasStepper:
        """A state that has seen `source["images"]` (1, H, W, 3), before all tokens."""
        place = {"before": [], "image_tokens": self.backbone.image_tokens}
        return self.stepper(source["images"], [prompt], sampling, place)

    def stepper(
        self, images, prompts: list[list[int]], sampling: Sampling, frame: dict | None = None
    ) -> KerasStepper:
        """A fresh state that has seen the images (B, H, W, 3), a row for each.

        Args:
            prompts: token ids in their frame, the positions of the image among them.
            frame: where those are. Default: as the model's own says.
        """
        backbone = self.backbone
        longest = max(len(prompt) for prompt in prompts)
        slots, prefill = window(backbone.max_length, longest, sampling.max_new_tokens)
        steps = self.compile_once("steps", lambda: compile_steps(backbone, self))
        images = ops.convert_to_tensor(images)
        if not backbone.image_tokens:
            encode = self.compile_once("encode", lambda: compiled(backbone.encode, self))
            context = (encode(images),)
            return KerasStepper(backbone, steps, len(prompts), slots, prefill, context)
        look = self.compile_once("look", lambda: compiled(backbone.prefill_image, self))
        frame = frame or self.frame()
        behind = slots - len(frame["before"]) - frame["image_tokens"]
        stepper = ImageStepper(
            backbone, steps, len(prompts), slots, min(prefill, max(1, behind)), look
        )
        take_in(stepper, prompts, frame, images)
        return stepper

    # === On a device ===

    def export_signatures(
        self,
        max_length: int | None = None,
        windows: tuple[int, ...] | None = None,
        prefill_lengths: tuple[int, ...] = (16,),
        kv_cache: str = "float32",
        verify_lengths: tuple[int, ...] | None = None,
    ) -> dict:
        """`encode` or `prefill_image` of one image, `prefill_{T}`, `decode`, `verify_{T}`.

        Args:
            max_length: positions of the window, those of an image among them.
            windows, prefill_lengths, kv_cache, verify_lengths: see
                `tasks.shared.step_signatures.step_signatures`.
        """
        backbone = self.backbone
        slots = min(max_length or backbone.max_length, backbone.max_length)
        height, width = backbone.processing["image"]["size"]
        images = TensorSpec((1, height, width, 3), "uint8")
        if backbone.image_tokens:
            return self._prefix_signatures(
                images, slots, windows, prefill_lengths, kv_cache, verify_lengths
            )

        def encode(inputs):
            return backbone.encode(inputs["images"])

        def step(token_ids, positions, cache, inputs):
            read = {name: inputs[name] for name in memory}
            return backbone.step(token_ids, positions, cache, read)

        memory = memory_specs(backbone, backbone.image_vectors)
        steps = step_signatures(
            step,
            backbone.init_cache,
            slots,
            windows,
            prefill_lengths,
            memory,
            kv_cache,
            verify_lengths,
        )
        return {"encode": Signature(encode, {"images": images}), **steps}

    def _prefix_signatures(
        self, images, slots, windows, prefill_lengths, kv_cache, verify_lengths
    ) -> dict:
        backbone, count = self.backbone, self.backbone.image_tokens
        sizes = [n for n in all_windows(slots, windows) if n >= count + _BEHIND_IMAGE] or [slots]

        def step(token_ids, positions, cache, inputs):
            return backbone.step(token_ids, positions, cache)

        steps = step_signatures(
            step, backbone.init_cache, slots, sizes, prefill_lengths, None, kv_cache, verify_lengths
        )
        # Once, since it holds the whole image encoder: a state moves to larger windows by itself.
        state = state_specs(backbone.init_cache(1, sizes[0]), kv_cache)

        def look(inputs):
            own = {name: inputs[name] for name in state}
            return backbone.prefill_image(inputs["images"], inputs["positions"], own)

        positions = TensorSpec((1, count), "int32")
        name = "prefill_image" if sizes[0] == slots else f"prefill_image_{sizes[0]}"
        inputs = {"images": images, "positions": positions, **state}
        return {name: Signature(look, inputs), **steps}


class ImageStepper(KerasStepper):
    """A `KerasStepper` that reads images as tokens; see `runtime.generation.loop.Stepper`."""

    def __init__(self, backbone, steps, batch_size, max_length, prefill_length, look):
        super().__init__(backbone, steps, batch_size, max_length, prefill_length)
        self._look, self.kept = look, 0

    def prefill_image(self, images, positions) -> None:
        """Take in images (B, H, W, 3) at positions (B, P)."""
        self._cache = self._look(images, int_tensor(positions), self._cache)
        self.kept = int(positions.max()) + 1


# === The task ===


class CaptioningTask(Task):
    """Write a text about an image. Raw data: `image` and `text`; or `image`, `question`, `answer`.

    Only the text, or the answer, is learned: of a question the model learns nothing but to read it.

    Args:
        template: what the model reads around the image and the prompt, control tokens included:
            "{image}Question: {prompt} Answer:". Default: the image, a start token, the prompt.
        augment: how training alters images; see `data.augment.augmenter`.
        generation: how a checkpoint generates; see `runtime.generation.defaults`.
    """

    name = "captioning"
    fields = (("image", "text"), ("image", "question", "answer"))
    media = ("image",)
    does = "writes a text about an image, or answers a question about it"
    pipeline_tag = "image-text-to-text"
    special_tokens = ("<pad>", "<s>", "</s>")
    example = 'print(model.caption(np.zeros((64, 64, 3), "uint8"), max_new_tokens=20))'
    abilities = ("caption",)

    def __init__(
        self,
        *,
        template: str | None = None,
        augment: dict | None = None,
        generation: dict | None = None,
    ):
        from modelzoo.data.augment import augmenter

        augmenter("image", augment, workers=1)  # rejected now, and not with the first batch
        self.template, self.augment, self.generation = template, augment, generation

    def examples(self, raw, columns=None) -> list[dict]:
        from modelzoo.data.media import read_media_examples

        return read_media_examples(raw, self.fields, columns)

    def model(self, backbone) -> CaptionModel:
        self.check_backbone(backbone, "step")
        self.check_backbone(backbone, "image_tokens")
        return CaptionModel(backbone, self.template)

    def losses(self) -> tuple:
        return token_loss(), [token_accuracy()]

    def batch_options(self, model, options, length: int | None = None) -> dict:
        """`length` is of the text: without the positions of an image that comes before it."""
        found = super().batch_options(model, options, length)
        if getattr(model.backbone, "image_token", None) is None:
            room = model.backbone.max_length - model.backbone.image_tokens
            found["length"] = min(found["length"], room)
        return found

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data.captions import caption_batches

        return caption_batches(raw, tokenizer, augment=self.augment, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats a token), `perplexity`, `accuracy` of tokens, `exact_match` of texts."""
        return with_perplexity(text_scores(model, batches.evaluation()))

    @classmethod
    def extras_of(cls, model, config) -> dict[str, object]:
        return generation_config(model, config)


def text_scores(model, batches: Sequence) -> dict[str, float]:
    """Figures of the texts that count, exact whatever the batches.

    `exact_match` is the share of texts whose every token is the likeliest after those before it:
    just the texts that greedy generation writes, to the end and no further.
    """

    def score(x, y, weight):
        logits = ops.cast(model(x, training=False), "float32")
        y, weight = ops.cast(y, "int32"), ops.cast(weight, "float32")
        chosen = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(y, -1), axis=-1), -1)
        nll = ops.logsumexp(logits, axis=-1) - chosen
        wrong = ops.cast(ops.not_equal(ops.argmax(logits, axis=-1), y), "float32") * weight
        counted = ops.cast(ops.any(weight > 0, axis=-1), "float32")
        whole = ops.cast(ops.logical_not(ops.any(wrong > 0, axis=-1)), "float32") * counted
        return ops.stack(
            [
                ops.sum(nll * weight),
                ops.sum(wrong),
                ops.sum(weight),
                ops.sum(whole),
                ops.sum(counted),
            ]
        )

    sums = model.compile_once("scores/text", lambda: compiled(score, model))
    total = np.zeros(5)
    for batch in batches:
        total += ops.convert_to_numpy(sums(*batch)).astype(np.float64)
    nll, wrong, tokens, whole, texts = total.tolist()
    if not tokens:
        return {"loss": math.nan, "accuracy": math.nan, "exact_match": math.nan, "tokens": 0}
    return {
        "loss": nll / tokens,
        "accuracy": 1 - wrong / tokens,
        "exact_match": whole / texts,
        "tokens": int(tokens),
    }
