"""Language modelling from left to right, and text generation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras

from modelzoo.data.batches import Batches
from modelzoo.runtime.abilities.scoring import Scoring, joined
from modelzoo.runtime.generation.defaults import sampling_with
from modelzoo.runtime.generation.loop import (
    Result,
    Written,
    check_logprobs,
    encode_prompt,
    generate_results,
    generate_text,
    generate_tokens,
)
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.generation.scoring import Scorer
from modelzoo.runtime.generation.session import ChatSession
from modelzoo.signature import Tensor
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.shared.chat import chat_session, fits
from modelzoo.tasks.shared.checkpoints import generation_config
from modelzoo.tasks.shared.scores import token_scores, with_perplexity
from modelzoo.tasks.shared.step_signatures import PREFILL_LENGTHS, step_signatures
from modelzoo.tasks.shared.stepper import KerasStepper, Steps, compile_steps, window


@keras.saving.register_keras_serializable("modelzoo")
class CausalLM(Scoring, TaskModel):
    """A decoder or recurrent network that predicts the next token.

    Call: `{"token_ids": (B, T), "padding_mask": (B, T)}` or the ids alone -> logits
    (B, T, vocab_size).

    Example:
        >>> small = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "vocab_size": 300}
        >>> model = modelzoo.build("gpt-tiny", **small)
        >>> history = model.fit(modelzoo.dataset(model, "corpus.txt", length=16), verbose=0)
        >>> len(model.generate(["In the", "God"], max_new_tokens=4))
        2
    """

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        self._chat = None
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        return self.backbone.logits(self.backbone(inputs, training=training))

    def generate(
        self, prompts, *, stream: bool = False, logprobs: bool = False, **sampling
    ) -> Written | Result | list[Result]:
        """Continue a text, or a list of texts of any lengths.

        Args:
            prompts: a str or a list of str.
            stream: give an iterator over pieces instead.
            logprobs: give `Result`s, with `text`, `tokens` and `log_probs`.
            **sampling: `max_new_tokens`, `temperature`, `top_k`, `top_p`, `repetition_penalty`,
                `stop`, `stop_tokens`, `seed`; see `runtime.generation.sampling.Sampling`. What is
                not given is as the checkpoint's `generation_config.json` says.

        Returns: str for a str, list of str for a list, without the prompts. Rows of a batch get
        the tokens that they get alone.
        """
        tokenizer = self.need_tokenizer()
        sampling = sampling_with(self.generation, sampling)
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        stepper = self.stepper([encode_prompt(tokenizer, text) for text in texts], sampling)
        if logprobs:
            check_logprobs(stream)
            results = generate_results(stepper, tokenizer, texts, sampling, logprobs=True)
            return results[0] if isinstance(prompts, str) else results
        return generate_text(
            stepper, tokenizer, prompts if isinstance(prompts, str) else texts, sampling, stream
        )

    def generate_tokens(self, prompts, **sampling) -> list[list[int]]:
        """The same for lists of token ids, with no tokenizer: the new tokens of each row."""
        sampling = sampling_with(self.generation, sampling)
        generation = generate_tokens(self.stepper(prompts, sampling), prompts, sampling)
        for _ in generation:
            pass
        return generation.tokens

    def chat(self, messages, *, stream: bool = False, **options) -> str | Iterator[str]:
        """The model's next turn; what it has read in earlier calls it does not read again.

        Args:
            messages: the whole conversation, `[{"role": "user", "content": "Hello"}, …]`; a str is
                one turn of the user.
            stream: give an iterator over pieces instead.
            **options: as in `generate`; `max_new_tokens` is 512 here. Other names are variables
                of the chat template: `tools`, `enable_thinking`.

        Raises:
            OverflowTextError: longer than the model's window.
            DataError: malformed messages, or messages that the model's template rejects.
            ModelzooError: no chat template, or a wrong option.
        """
        if self._chat is None or not fits(self._chat, self):
            self._chat = self.chat_session()
        return self._chat.chat(messages, stream, **options)

    def chat_session(self) -> ChatSession:
        """A conversation with a state of its own, beside that of `chat`."""
        return chat_session(self)

    def stepper(self, prompts, sampling: Sampling) -> KerasStepper:
        """A fresh state with a row for each of the token prompts."""
        longest = max((len(prompt) for prompt in prompts), default=1)
        slots, prefill = window(self.backbone.max_length, longest, sampling.max_new_tokens)
        return KerasStepper(self.backbone, self.steps(), len(prompts), slots, prefill)

    def _scored_ids(self, given: str | None, text: str) -> tuple[list[int], int]:
        return joined(self.need_tokenizer(), given, text)

    def _scorer(self, given: str | None, old: Scorer | None) -> Scorer:
        return old or Scorer(self._scoring_stepper, self.backbone.max_length)

    def _scoring_stepper(self, length: int) -> KerasStepper:
        slots, size = window(self.backbone.max_length, length, 0)
        return KerasStepper(self.backbone, self.steps(), 1, slots, size)

    def steps(self) -> Steps:
        """The compiled `prefill` and `decode`."""
        return self.compile_once("steps", lambda: compile_steps(self.backbone, self))

    def export_signatures(
        self,
        max_length: int | None = None,
        windows: tuple[int, ...] | None = None,
        prefill_lengths: tuple[int, ...] | None = None,
        kv_cache: str = "float32",
        verify_lengths: tuple[int, ...] | None = None,
        score_lengths: tuple[int, ...] | None = None,
        fused_attention: bool = False,
    ) -> dict:
        """`prefill_{T}`, `decode`, `verify_{T}`, `score_{T}` for one text of at most `max_length`.

        Args:
            windows, prefill_lengths, kv_cache, verify_lengths, score_lengths, fused_attention:
                see `tasks.shared.step_signatures.step_signatures`.
        """
        slots = self.backbone.max_length
        if slots is None:  # recurrent: each step of a chunk is unrolled
            prefill_lengths = [min(length, 32) for length in prefill_lengths or PREFILL_LENGTHS]
        else:
            slots = min(max_length or slots, slots)

        def step(token_ids, positions, cache, inputs):
            return self.backbone.step(token_ids, positions, cache)

        return step_signatures(
            step,
            self.backbone.init_cache,
            slots,
            windows,
            prefill_lengths,
            None,
            kv_cache,
            verify_lengths,
            score_lengths,
            fused_attention,
        )


class CausalLMTask(Task):
    """Predict each token from those before it. Raw data: documents (`text`).

    Args:
        generation: how a checkpoint generates; see `runtime.generation.defaults`.
    """

    name = "causal-lm"
    fine_tuning = {"batch_size": 8, "length": 256, "epochs": 1.0}
    does = "continues a text, one token after another"
    pipeline_tag = "text-generation"
    special_tokens = ("<|endoftext|>",)
    abilities = ("generate", "chat", "score")

    @staticmethod
    def example(abilities) -> str:
        if "chat" in abilities:
            return 'print(model.chat("Who wrote Hamlet?", max_new_tokens=40))'
        return 'print(model.generate("In the beginning", max_new_tokens=20))'

    def __init__(self, *, generation: dict | None = None):
        self.generation = generation

    def model(self, backbone) -> CausalLM:
        """A `CausalLM`, or what the backbone's own `causal_lm()` gives."""
        self.check_backbone(backbone, "step")
        return backbone.causal_lm() if hasattr(backbone, "causal_lm") else CausalLM(backbone)

    def losses(self) -> tuple:
        return token_loss(), [token_accuracy()]

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data import causal_lm_batches

        return causal_lm_batches(raw, tokenizer, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats a token), `perplexity`, `bits_per_byte` (of the UTF-8 text), `accuracy`."""
        scores = with_perplexity(token_scores(model, batches.evaluation()))
        bits = scores["loss"] * scores["tokens"] / math.log(2)
        scores["bits_per_byte"] = bits / batches.num_bytes if batches.num_bytes else math.nan
        return scores

    @classmethod
    def extras_of(cls, model, config) -> dict[str, object]:
        return generation_config(model, config)
