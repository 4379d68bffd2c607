"""From one text to another: translation, summarization, question answering."""

from __future__ import annotations

import keras
import numpy as np

from modelzoo.data.batches import Batches
from modelzoo.errors import OverflowTextError, TokenizerError
from modelzoo.runtime.abilities.scoring import Scoring, targets
from modelzoo.runtime.abilities.sources import identity_of, is_one_source
from modelzoo.runtime.generation.defaults import first_tokens, sampling_with
from modelzoo.runtime.generation.loop import (
    Result,
    Written,
    check_logprobs,
    duplicate_ranks,
    generate_results,
    generate_text,
)
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.generation.scoring import Scorer
from modelzoo.signature import Signature, Tensor, TensorSpec
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.shared.call_inputs import text_specs
from modelzoo.tasks.shared.checkpoints import generation_config
from modelzoo.tasks.shared.scores import token_scores, with_perplexity
from modelzoo.tasks.shared.step_signatures import memory_specs, step_signatures
from modelzoo.tasks.shared.stepper import (
    KerasStepper,
    compile_steps,
    compiled,
    int_tensor,
    power_of_two,
    window,
)


@keras.saving.register_keras_serializable("modelzoo")
class Seq2SeqLM(Scoring, TaskModel):
    """An encoder-decoder that writes a target after reading a source.

    Call: `{"token_ids": (B, S), "padding_mask": (B, S), "decoder_token_ids": (B, T),
    "decoder_padding_mask": (B, T)}` -> logits (B, T, vocab_size).
    """

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        return self.backbone.logits(self.backbone(inputs, training=training))

    def call_inputs(self) -> dict[str, keras.InputSpec]:
        """As in every model, for source and target."""
        return super().call_inputs() | text_specs(self.backbone, "decoder_")

    def generate(
        self, sources, *, stream: bool = False, logprobs: bool = False, **sampling
    ) -> Written | Result | list[Result]:
        """What the model makes of a source text, or of a list of them.

        Arguments and return values as `CausalLM.generate`. The source is read once; its keys and
        values are kept.
        """
        tokenizer, one = self.need_tokenizer(), is_one_source(sources)
        sampling = sampling_with(self.generation, sampling)
        found = [self._given(each) for each in ([sources] if one else sources)]
        prompt = [start_token(tokenizer), *first_tokens(self.generation)]
        stepper = self.stepper([self._encoded(each) for each in found], sampling, len(prompt))
        prompts = [prompt] * len(found)
        ranks = duplicate_ranks([identity_of(each) for each in found])
        if logprobs:
            check_logprobs(stream)
            results = generate_results(
                stepper, tokenizer, prompts, sampling, ranks=ranks, logprobs=True
            )
            return results[0] if one else results
        result = generate_text(stepper, tokenizer, prompts, sampling, stream, ranks=ranks)
        if not one:
            return result
        return (piece for _, piece in result) if stream else result[0]

    def _encoded(self, source) -> list[int]:
        """What `stepper` takes for a source."""
        return self.need_tokenizer().encode_source(source, self.backbone.max_length)

    def _scored_ids(self, given: str | None, text: str) -> tuple[list[int], int]:
        tokenizer = self.need_tokenizer()
        return targets(
            tokenizer, [start_token(tokenizer), *first_tokens(self.generation)], given, text
        )

    def _scorer(self, given: str | None, old: Scorer | None) -> Scorer:
        source = self._encoded(given or "")
        sampling = Sampling(max_new_tokens=1)
        return Scorer(
            lambda length: self.stepper([source], sampling, length), self.backbone.max_length
        )

    def stepper(self, sources, sampling: Sampling, prompt_length: int = 1) -> KerasStepper:
        """Encode token sources and begin a state with a row for each."""
        context = self._memory(sources)
        slots, prefill = window(self.backbone.max_length, prompt_length, sampling.max_new_tokens)
        steps = self.compile_once("steps", lambda: compile_steps(self.backbone, self))
        return KerasStepper(self.backbone, steps, len(sources), slots, prefill, context)

    def _memory(self, sources) -> tuple:
        """What each step reads besides the target: an encoder's output and its mask."""
        token_ids, mask = self._pad(sources)
        encode = self.compile_once("encode", lambda: compiled(self.backbone.encode, self))
        mask = int_tensor(mask)
        return encode(int_tensor(token_ids), mask), mask

    def _pad(self, sources):
        """Token lists as (B, S) ids and mask; S is of few sizes."""
        limit, longest = self.backbone.max_length, max(1, *(len(ids) for ids in sources))
        if longest > limit:
            raise OverflowTextError(
                f"the source has {longest} tokens, and the model reads {limit}",
                next_step="shorten the text",
            )
        length = min(power_of_two(longest, 16), limit)
        token_ids = np.zeros((len(sources), length), np.int32)
        mask = np.zeros((len(sources), length), np.int32)
        for row, ids in enumerate(sources):
            token_ids[row, : len(ids)], mask[row, : len(ids)] = ids, 1
        return token_ids, mask

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
        """`encode` for a source; `prefill_{T}`, `decode`, `verify_{T}`, `score_{T}` for its target.

        Args:
            source_length: tokens of the source, padded. Default: `max_length`.
            windows, prefill_lengths, kv_cache, verify_lengths, score_lengths: see
                `tasks.shared.step_signatures.step_signatures`.
        """
        slots = min(max_length or self.backbone.max_length, self.backbone.max_length)
        length = min(source_length or slots, self.backbone.max_length)
        ids = TensorSpec((1, length), "int32")
        memory = memory_specs(self.backbone, length)

        def encode(inputs):
            return self.backbone.encode(inputs["token_ids"], inputs["padding_mask"])

        def step(token_ids, positions, cache, inputs):
            read = {name: inputs[name] for name in memory}
            return self.backbone.step(token_ids, positions, cache, read, inputs["padding_mask"])

        context = {"padding_mask": ids, **memory}
        steps = step_signatures(
            step,
            self.backbone.init_cache,
            slots,
            windows,
            prefill_lengths,
            context,
            kv_cache,
            verify_lengths,
            score_lengths,
        )
        return {"encode": Signature(encode, {"token_ids": ids, "padding_mask": ids}), **steps}


def start_token(tokenizer) -> int:
    """What a target begins with: the role "start", else the pad token, as T5 has it."""
    if "start" in tokenizer.roles:
        return tokenizer.roles["start"]
    if "pad" not in tokenizer.roles:
        raise TokenizerError("the tokenizer has no pad token for targets to begin with")
    return tokenizer.roles["pad"]


class Seq2SeqLMTask(Task):
    """Write a target text for a source text. Raw data: pairs (`source`, `target`).

    Args:
        generation: how a checkpoint generates; see `runtime.generation.defaults`.
    """

    name = "seq2seq-lm"
    fields = (("source", "target"),)
    fine_tuning = {"learning_rate": 1e-4, "length": 128}
    does = "writes a target text for a source text"
    special_tokens = ("<pad>", "</s>", "<unk>")
    frame = "source"
    example = 'print(model.generate("In the beginning", max_new_tokens=20))'
    abilities = ("generate", "score")

    def __init__(self, *, generation: dict | None = None):
        self.generation = generation

    def model(self, backbone) -> Seq2SeqLM:
        self.check_backbone(backbone, "encode")
        return Seq2SeqLM(backbone)

    def losses(self) -> tuple:
        return token_loss(), [token_accuracy()]

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data import seq2seq_batches

        return seq2seq_batches(raw, tokenizer, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats a target token), `perplexity`, `accuracy` of target tokens."""
        return with_perplexity(token_scores(model, batches.evaluation()))

    @classmethod
    def config_of(cls, model, classes) -> dict:
        """What a target begins with; see `start_token`."""
        if model.tokenizer is None:
            return {}
        roles = model.tokenizer.roles
        return {"decoder_start_token_id": roles.get("start", roles.get("pad"))}

    @classmethod
    def extras_of(cls, model, config) -> dict[str, object]:
        return generation_config(model, config)
