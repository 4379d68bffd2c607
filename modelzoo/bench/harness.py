"""A model directory or a bundle as a model of EleutherAI's lm-evaluation-harness."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from tokenizers import Tokenizer as Backend

from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime.bundle import is_bundle
from modelzoo.runtime.generation.loop import generate_results
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.text.chat import no_template, template_tokens
from modelzoo.runtime.text.chat_template import ChatTemplate, read_source

__all__ = ["ModelzooLM"]

_NEW_TOKENS = 256  # of an answer, where a task says nothing
_DRAWN = ("temperature", "top_k", "top_p")


@register_model("modelzoo")
class ModelzooLM(TemplateLM):
    """Answers the requests of `lm_eval.simple_evaluate` with a decoder of modelzoo.

    Texts are tokenized as the harness does it with transformers: control tokens count wherever
    they stand, and what is too long loses its beginning.

    Args:
        model: a bundle, a model directory, or what `modelzoo.build`, `modelzoo.load` or
            `modelzoo.runtime.load` gave.
        threads: CPU threads, for a bundle.
        trust: open a bundle's model file without checking it first.
        batch_size: taken because the harness gives it; requests are worked through one by one,
            and what two in a row begin with is read once.

    Raises:
        ModelzooError: a model that does not continue texts, or has no tokenizer.

    Example:
        import lm_eval

        model = ModelzooLM("gpt.bundle")
        print(lm_eval.simple_evaluate(model, tasks=["lambada_openai"])["results"])
    """

    def __init__(
        self,
        model: Any,
        threads: int | None = None,
        trust: bool = False,
        batch_size: int | str = 1,
    ):
        super().__init__()
        self.name = os.fspath(model) if isinstance(model, str | os.PathLike) else "modelzoo"
        self.model = (
            _opened(model, threads, trust) if isinstance(model, str | os.PathLike) else model
        )
        self._on_device = hasattr(self.model, "engine")
        if self._on_device:
            able = {"generate", "score"} <= set(self.model.abilities)
            able = able and "encode" not in self.model.engine.signatures
        else:
            able = hasattr(self.model, "score") and hasattr(self.model, "generate_tokens")
        if not able or self.model.tokenizer is None:
            raise ModelzooError(
                "the harness needs a model that continues texts and scores them",
                where=self.name,
                next_step="take a model of the task causal-lm; export a bundle of an older "
                "version again",
            )
        self.tokenizer = self.model.tokenizer
        # Literals of control tokens are those tokens here; to modelzoo's tokenizer they are text.
        self._backend = Backend.from_str(self.tokenizer.to_str())
        self._scorer = self.model._scorer(None, None)
        self.max_length = self._scorer.max_length or 2**31

    # === Tokens ===

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.role("eos")

    @property
    def prefix_token_id(self) -> int:
        return self.tokenizer.roles.get("bos", self.eot_token_id)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: object
    ) -> list[int]:
        ids = self._backend.encode(string, add_special_tokens=False).ids
        before = [] if add_special_tokens is False else list(self.tokenizer.prefix)
        return ids if ids[: len(before)] == before else [*before, *ids]

    # === Requests ===

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple], disable_tqdm: bool = False, **kwargs: object
    ) -> list[tuple[float, bool]]:
        rows = []
        for _, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise OverflowTextError(
                    f"a continuation has {len(continuation):,} tokens, and the model's window "
                    f"{self.max_length:,}",
                    where=self.name,
                )
            ids = [*context, *continuation][-(self.max_length + 1) :]
            rows.append((ids, len(ids) - len(continuation)))
        answers: list[Any] = [None] * len(rows)
        # Texts that begin alike follow each other: their beginning is read once.
        for number in sorted(range(len(rows)), key=lambda number: rows[number][0]):
            ids, first = rows[number]
            scores = self._scorer.score(ids, first) if first < len(ids) else None
            answers[number] = (scores.total, scores.greedy) if scores else (0.0, True)
            self.cache_hook.add_partial("loglikelihood", requests[number][0], answers[number])
        return answers

    def loglikelihood_rolling(self, requests: Sequence, disable_tqdm: bool = False) -> list[float]:
        totals = []
        for (text,) in (request.args for request in requests):
            ids = [self.prefix_token_id, *self.tok_encode(text)]
            scores = self._scorer.score(ids, 1, "rolling") if len(ids) > 1 else None
            totals.append(scores.total if scores else 0.0)
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), totals[-1])
        return totals

    def generate_until(self, requests: Sequence, disable_tqdm: bool = False) -> list[str]:
        eos = self.tokenizer.id_to_token(self.eot_token_id)
        answers = []
        for context, asked in (request.args for request in requests):
            options: dict[str, Any] = dict(normalize_gen_kwargs(dict(asked), _NEW_TOKENS))
            until = handle_stop_sequences(options.pop("until", None), eos=eos)
            new = options.pop("max_gen_toks")
            if not 0 < new < self.max_length:
                raise OverflowTextError(
                    f"a task asks for {new:,} new tokens, and the model's window has "
                    f"{self.max_length:,}",
                    where=self.name,
                    next_step="ask for fewer: gen_kwargs={'max_gen_toks': 64}",
                )
            drawn = {name: options[name] for name in _DRAWN if options.get(name)}
            sampling = Sampling(
                max_new_tokens=new,
                stop=[text for text in until if text],
                **(drawn if options.get("do_sample") else {}),
            )
            ids = self.tok_encode(context)[-(self.max_length - new) :] or [self.prefix_token_id]
            stepper = self._stepper(ids, sampling)
            (result,) = generate_results(stepper, self.tokenizer, [ids], sampling)
            answers.append(postprocess_generated_text(result.text, until, None))
            self.cache_hook.add_partial("generate_until", (context, asked), answers[-1])
        return answers

    def _stepper(self, ids: list[int], sampling: Sampling) -> Any:
        if self._on_device:
            return self.model.engine.stepper()
        return self.model.stepper([ids], sampling)

    # === Chat ===

    @property
    def tokenizer_name(self) -> str:
        return self.name.replace("/", "__")

    @cached_property
    def _template(self) -> ChatTemplate:
        if self._on_device:
            path = self.model.bundle.chat_template_path
            source = path and read_source(path)
        else:
            source = self.model.chat_template
        if source is None:
            raise no_template(self.name)
        return ChatTemplate(source, template_tokens(self.tokenizer))

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self._template.source if chat_template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        text = self._template.render(chat_history, add_generation_prompt=add_generation_prompt)
        if add_generation_prompt:
            return text
        last = chat_history[-1]["content"].strip()  # the model goes on with it
        return text[: text.rindex(last) + len(last)]


def _opened(path: str | os.PathLike, threads: int | None, trust: bool) -> Any:
    if is_bundle(path):
        from modelzoo.runtime.model import load

        return load(path, threads=threads, trust=trust)
    from modelzoo.building.directory import load

    return load(path)
