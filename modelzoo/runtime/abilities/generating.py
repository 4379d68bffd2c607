"""Continues texts, and writes what it makes of a source; says how likely texts are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np

from modelzoo.errors import BundleError, ModelzooError
from modelzoo.runtime.abilities.encoding import EncodesTexts, many_texts
from modelzoo.runtime.abilities.media import INPUTS
from modelzoo.runtime.abilities.protocols import Generates
from modelzoo.runtime.abilities.scoring import MaskedScoring, Scoring, joined, targets
from modelzoo.runtime.abilities.sources import (
    Source,
    identity_of,
    is_one_source,
    media_inputs,
    media_kinds,
)
from modelzoo.runtime.engines.base import plan_steps
from modelzoo.runtime.engines.static_shapes import sizes_of
from modelzoo.runtime.generation.defaults import first_tokens, sampling_with
from modelzoo.runtime.generation.loop import (
    Result,
    Written,
    check_logprobs,
    duplicate_ranks,
    encode_prompt,
    generate_results,
    generate_text,
)
from modelzoo.runtime.generation.reader import Reader
from modelzoo.runtime.generation.sampling import Sampling, log_prob
from modelzoo.runtime.generation.scoring import Scorer, Scores
from modelzoo.runtime.generation.steppers import ImageStepper, ScoreStepper
from modelzoo.runtime.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing import Unpack

    from modelzoo.runtime.abilities.protocols import Given, Several
    from modelzoo.runtime.generation.sampling import SamplingOptions


class GenerateAbility(EncodesTexts, Generates):
    """What `runtime.Model` does with a model that writes: mixed into it."""

    @overload
    def generate(
        self,
        text: Given,
        stream: Literal[False] = False,
        truncate: bool = False,
        **sampling: Unpack[SamplingOptions],
    ) -> str: ...
    @overload
    def generate(
        self,
        text: Given,
        stream: Literal[True],
        truncate: bool = False,
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[str]: ...
    @overload
    def generate(
        self,
        text: Several[Given],
        stream: Literal[False] = False,
        truncate: bool = False,
        **sampling: Unpack[SamplingOptions],
    ) -> list[str]: ...
    @overload
    def generate(
        self,
        text: Several[Given],
        stream: Literal[True],
        truncate: bool = False,
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[tuple[int, str]]: ...
    @overload
    def generate(
        self, text: Given, *, logprobs: Literal[True], **sampling: Unpack[SamplingOptions]
    ) -> Result: ...
    @overload
    def generate(
        self, text: Several[Given], *, logprobs: Literal[True], **sampling: Unpack[SamplingOptions]
    ) -> list[Result]: ...
    def generate(
        self,
        text: Given | Several[Given],
        stream: bool = False,
        truncate: bool = False,
        logprobs: bool = False,
        **sampling,
    ) -> Written | Result | list[Result]:
        """Continue a text, or what an encoder-decoder makes of it; the prompt is not repeated.

        Args:
            text: one, or a list of texts. For a model that reads media with a text, also a dict:
                `{"text": "What is this?", "image": "photo.png"}`, or `"video"`.
            stream: return an iterator of pieces instead; for a list, of (row, piece).
            truncate: cut what is too long: the end of an encoder's source, the beginning of a
                prompt (leaving room for `max_new_tokens`, up to half the window).
            logprobs: return `Result`s, with `text`, `tokens` and `log_probs`.
            sampling: the fields of `Sampling`: max_new_tokens, temperature, top_k, top_p,
                repetition_penalty, stop, seed, when_full, speculate. What is not given is as the
                checkpoint generates, which the manifest's `generation` states.

        Raises:
            OverflowTextError: longer than the model's window, and `when_full` is not "slide".
            ModelzooError: a wrong option, or a bundle that does not generate.

        Example:
            >>> from modelzoo.runtime import load
            >>> model = load("gpt.bundle")
            >>> model.generate("In the", max_new_tokens=3, temperature=0.8, seed=1)
            ' beginning God created'
        """
        self._need("generate")
        options, one = sampling_with(self.manifest.get("generation"), sampling), is_one_source(text)
        texts: list = [text] if one else many_texts(text)
        if logprobs:
            check_logprobs(stream)
            results = self.generate_results(texts, truncate, logprobs, **sampling)
            return results[0] if one else results
        if stream:
            pieces = self._stream(texts, options, truncate)
            return (piece for _, piece in pieces) if one else pieces
        results = self.generate_results(texts, truncate, **sampling)
        return results[0].text if one else [result.text for result in results]

    def generate_results(
        self, texts: Sequence[Given], truncate: bool = False, logprobs: bool = False, **sampling
    ) -> list[Result]:
        """As `generate`, with each text's tokens, why it ended, and how many passes it took."""
        self._need("generate")
        options = sampling_with(self.manifest.get("generation"), sampling)
        texts = [self._given(text) for text in many_texts(texts)]
        results = []
        for text, rank in zip(texts, _ranks(texts), strict=True):
            stepper, prompt = self._begin(text, options, truncate)
            results += generate_results(
                stepper, self.tokenizer, [prompt], options, ranks=[rank], logprobs=logprobs
            )
        return results

    def reader(self) -> Reader:
        """A state of its own that reads token by token, with the logits after each.

        For what `generate` and `score` do not do: own ways to choose a token, texts that come in
        pieces, a state that is kept for later.

        Raises:
            ModelzooError: a bundle that does not continue texts.

        Example:
            >>> from modelzoo.runtime import load
            >>> model = load("gpt.bundle")
            >>> logits = model.reader().read(model.tokenizer.encode("In the beginning"))
            >>> model.tokenizer.decode([int(logits.argmax())])
            ' God'
        """
        self._need("generate")
        if "encode" in self.engine.signatures:
            raise ModelzooError(
                f"{self.manifest['name']} ({self.task}) writes what it reads from a source, and a "
                "reader is for a model that continues texts",
                where=self.bundle.directory,
                next_step="model.engine.stepper(source), with the inputs of its signature encode",
            )
        return Reader(self.engine.stepper())

    def _stream(self, texts, options: Sampling, truncate: bool) -> Iterator[tuple[int, str]]:
        texts = [self._given(text) for text in texts]
        for row, (text, rank) in enumerate(zip(texts, _ranks(texts), strict=True)):
            stepper, prompt = self._begin(text, options, truncate)
            pieces = generate_text(
                stepper, self.tokenizer, [prompt], options, stream=True, ranks=[rank]
            )
            for _, piece in pieces:
                yield row, piece

    def _begin(
        self, text: Any, options: Sampling, truncate: bool
    ) -> tuple[ImageStepper, list[int]]:
        """A stepper that is ready for the prompt, and the prompt's ids."""
        if "encode" in self.engine.signatures:
            return self.engine.stepper(self._source(text, truncate)), self._first_tokens()
        stepper = self.engine.stepper()
        prompt, window = encode_prompt(self.tokenizer, text), stepper.max_length
        if truncate and window is not None and len(prompt) > window:
            room = min(options.max_new_tokens or window, window // 2)
            prompt = prompt[len(prompt) - (window - room) :]
        return stepper, prompt

    def _given(self, given: Any) -> Any:
        """What is read before writing: a text, prepared, a `Source` with a medium, or nothing."""
        if given is None or isinstance(given, str):
            return given and self._prepared(given)
        source = Source.of(given, media_kinds(self.engine.signatures))
        text = self._prepared(source.text)
        return replace(source, text=text) if source.kind else text

    def _source(self, given: str | Source, truncate: bool = False) -> dict[str, np.ndarray]:
        """The inputs of `encode`, or of `encode_image` or `encode_video`."""
        source = Source.of(given)
        media = media_inputs(source.frames(self._processing))
        kind = next((f"encode_{kind}" for kind, name in INPUTS.items() if name in media), "encode")
        length = self.engine.signatures[kind].inputs["token_ids"].shape[1]
        ids = self._text.encode_source(source.text, length, truncate=truncate)
        return {**self._padded(kind, ids), **media}

    def _first_tokens(self) -> list[int]:
        """What an encoder-decoder's target begins with."""
        return [self._start_token(), *first_tokens(self.manifest.get("generation"))]

    def _start_token(self) -> int:
        token = self._processing.get("start_token")
        if not isinstance(token, int):
            raise BundleError(
                "the manifest has no processing.start_token, which the decoder begins with",
                where=self.bundle.directory,
                next_step="export the model again",
            )
        return token


class ScoreAbility(GenerateAbility, MaskedScoring):
    """`score` of a bundle, whether it writes or fills masks; see `abilities.scoring`."""

    def _scores(self, rows, too_long: str, together: bool = False) -> list[Scores]:
        self._need("score")
        rows = [(given, self._prepared(text)) for given, text in rows]
        kind = Scoring if "decode" in self.engine.signatures else MaskedScoring
        return kind._scores(self, rows, too_long, together)

    def _scored_ids(self, given, text: str) -> tuple[list[int], int]:
        if "encode" not in self.engine.signatures:
            return joined(self._text, given, text)
        return targets(self._text, self._first_tokens(), given, text)

    def _scorer(self, given, old: Scorer | None) -> Scorer:
        window = plan_steps(self.engine.signatures).max_length
        if "encode" not in self.engine.signatures:
            return old or Scorer(lambda length: cast(ScoreStepper, self.engine.stepper()), window)
        source = self._source(given or "")
        return Scorer(lambda length: cast(ScoreStepper, self.engine.stepper(source)), window)

    def _scoring_tokenizer(self) -> Tokenizer:
        return self._text

    def _longest_masked(self) -> int:
        return sizes_of(self.engine.signatures, "serve")[-1].length

    def _masked(self, copies, segments, places, targets) -> tuple[np.ndarray, np.ndarray]:
        sizes = sizes_of(self.engine.signatures, "serve")
        found = np.zeros((2, len(copies)), np.float32)
        for one, outputs in self._outputs(sizes, [(row, segments) for row in copies.tolist()]):
            found[:, one] = log_prob(outputs["logits"][places[one]], targets[one])
        return found[0], found[1]


def _ranks(sources: Sequence[str | Source]) -> list[int]:
    return duplicate_ranks([identity_of(one) for one in sources])
