"""A loaded bundle: text or media in, an answer out. Needs numpy, tokenizers, and an engine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np

from modelzoo.errors import BundleError, ModelzooError, OverflowTextError
from modelzoo.runtime.abilities.answering import OUTPUTS, AnsweringAbility
from modelzoo.runtime.abilities.captioning import CaptionAbility, captions_images
from modelzoo.runtime.abilities.entailment import HYPOTHESIS, above, entailed, entailment, pairs_of
from modelzoo.runtime.abilities.labels import (
    _labelled,
    check_numbers,
    check_threshold,
    softmax,
)
from modelzoo.runtime.abilities.media import INPUTS, is_one_medium, media_abilities, medium_of
from modelzoo.runtime.abilities.nearest import NearestAbility
from modelzoo.runtime.abilities.protocols import Chats, Classifies, FillsMasks, Generates
from modelzoo.runtime.abilities.ranking import RankAbility
from modelzoo.runtime.abilities.scoring import MaskedScoring, Scoring, joined, targets
from modelzoo.runtime.abilities.sources import (
    Source,
    identity_of,
    is_one_source,
    media_inputs,
    media_kinds,
)
from modelzoo.runtime.abilities.tagging import TagAbility
from modelzoo.runtime.abilities.transcription import TranscriptionAbility, transcribes
from modelzoo.runtime.bundle import Bundle, read_bundle
from modelzoo.runtime.engines.base import Engine, SignatureInfo, SteppingEngine, plan_steps
from modelzoo.runtime.engines.opening import open_engine
from modelzoo.runtime.engines.static_shapes import plan_calls, sizes_of
from modelzoo.runtime.generation.defaults import first_tokens, sampling_with
from modelzoo.runtime.generation.loop import (
    ImageStepper,
    Result,
    ScoreStepper,
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
from modelzoo.runtime.generation.session import ChatSession, Session
from modelzoo.runtime.text.chat import ChatTemplate, no_template, template_tokens
from modelzoo.runtime.text.chat_template import read_source
from modelzoo.runtime.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing import Unpack

    from modelzoo.runtime.abilities.protocols import Given, Labels, Medium, Messages, Several
    from modelzoo.runtime.generation.sampling import SamplingOptions
    from modelzoo.runtime.generation.session import ChatOptions


def load(
    path: str | os.PathLike,
    threads: int | None = None,
    weight_cache: str | os.PathLike | bool | None = True,
    trust: bool = False,
) -> Model:
    """Load a bundle that `modelzoo export` wrote, after checking the hash of each of its files.

    A model file that this user neither exported nor loaded before is checked first, and tried in a
    child process; `docs/safety.md` says what that finds.

    Args:
        path: the bundle's directory; or the name of one that a plugin brings, `samples/emoji`.
        threads: CPU threads; None is one a core that this process may use, four at most.
        weight_cache: where packed weights are kept (TFLite only), so that the next load takes a
            fraction of the time: True is the user's cache, of 4 GiB at most, which is left out
            without a word where it cannot be used. A directory is without a bound, and what cannot
            be kept there is a warning. None keeps none.
        trust: open the model file without these checks; the hashes are compared all the same.

    Raises:
        BundleError: missing, incomplete, altered, of a newer format, not loadable, or a model file
            that does not pass the checks.

    Example:
        >>> load("gpt.bundle").generate("In the beginning", max_new_tokens=5)
        ' God created heaven'
    """
    bundle = read_bundle(path)
    tokenizer = open_tokenizer(bundle)
    return Model(bundle, tokenizer, open_engine(bundle, threads, weight_cache, trust))


def open_tokenizer(bundle: Bundle) -> Tokenizer | None:
    """The bundle's tokenizer with the roles that its manifest states; `None` where it has none."""
    if not bundle.tokenizer_path:
        return None
    stated = bundle.manifest["tokenizer"]
    return Tokenizer.load(bundle.tokenizer_path, stated.get("roles"), stated.get("stop_tokens", ()))


class Model(
    NearestAbility,
    CaptionAbility,
    TranscriptionAbility,
    AnsweringAbility,
    TagAbility,
    RankAbility,
    Generates,
    Chats,
    Classifies,
    FillsMasks,
):
    """What a bundle can do: some of `generate`, `chat`, `classify`, `rank`, `embed`, `fill_mask`,
    `tag`, `answer` and `score`, of what `runtime.abilities.media.MediaAbilities` does with images,
    sounds and videos, and `nearest` where it carries a gallery.

    Attributes:
        task: as in the recipe, "causal-lm" for one.
        manifest: see `bundle.read_bundle`.
        tokenizer: a `Tokenizer`, or None.
        engine: runs single signatures: `engine.run(name, arrays)`.
        abilities: the names of the methods that fit this bundle: of those that its task offers,
            as the manifest states them, what its signatures allow.
        embedding_signature: the signature that `embed` runs, or None; `embed` and the others
            take a smaller one of the same kind (`embed_32`) where a text fits into it.

    Several threads may use it at once: their calls take turns, and each generation has a state
    of its own. A conversation belongs to one thread: take a `chat_session()` for each.
    """

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer | None, engine: Engine):
        self.bundle, self.tokenizer = bundle, tokenizer
        self.engine = cast(SteppingEngine, engine)  # one without a stepper does not generate
        self.manifest, self.task = bundle.manifest, bundle.manifest["task"]
        self.embedding_signature = _embedding_signature(engine.signatures)
        able = _abilities(engine.signatures, tokenizer, bundle.chat_template_path)
        if bundle.manifest.get("gallery") and any(name.startswith("embed") for name in able):
            able = ("nearest", *able)
        if bundle.manifest.get("labels") and tokenizer is not None and _tags(engine.signatures):
            able = (*able, "tag")
        stated = bundle.manifest.get("abilities")
        # What a manifest names beyond what its signatures allow is nothing that could be called.
        self.abilities = able if stated is None else tuple(n for n in able if n in stated)
        self._processing = bundle.processing  # what is wrong with it is said now
        self._chat = None

    def __repr__(self) -> str:
        return f"Model({self.manifest['name']!r}, task={self.task!r}, can={self.abilities})"

    # === Generation ===

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

    def reader(self) -> Reader:
        """A state of its own that reads token by token, with the logits after each.

        For what `generate` and `score` do not do: own ways to choose a token, texts that come in
        pieces, a state that is kept for later.

        Raises:
            ModelzooError: a bundle that does not continue texts.

        Example:
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

    # === Log-probabilities ===

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
        for size, group in plan_calls(sizes, [copies.shape[1]] * len(copies)):
            rows = [self._padded(size.name, copies[one].tolist(), segments) for one in group]
            rows += rows[-1:] * (size.rows - len(rows))
            inputs = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
            logits = self.engine.run(size.name, inputs)["logits"]
            for row, one in enumerate(group):
                found[:, one] = log_prob(logits[row, places[one]], targets[one])
        return found[0], found[1]

    # === Conversation ===

    @overload
    def chat(
        self,
        messages: Messages,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> str: ...
    @overload
    def chat(
        self, messages: Messages, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> Iterator[str]: ...
    def chat(self, messages: Messages, stream: bool = False, **options) -> str | Iterator[str]:
        """The model's next turn; what it has read in earlier calls it does not read again.

        Args:
            messages: the whole conversation, `[{"role": "user", "content": "Hello"}, …]`; a str is
                one turn of the user.
            stream: return an iterator of pieces instead.
            options: as in `generate`; `max_new_tokens` is 512 here. Other names are variables of
                the chat template: `tools`, `enable_thinking`.

        Raises:
            OverflowTextError: longer than the model's window, and `when_full` is not "slide".
            DataError: malformed messages, or messages that the template rejects.
            ModelzooError: a wrong option, or a bundle that does not chat.

        Example:
            >>> load("gpt.bundle").chat("Who wrote Hamlet?")
            ' William Shakespeare.'
        """
        if self._chat is None:
            self._chat = self.chat_session()
        return self._chat.chat(messages, stream, **options)

    def chat_session(self) -> ChatSession:
        """A conversation with a state of its own, beside that of `chat`."""
        engine, path = self.engine, self.bundle.chat_template_path
        if path is None and "generate" in self.abilities and "encode" not in engine.signatures:
            raise no_template(self.bundle.directory)
        self._need("chat")
        assert path is not None  # or it could not
        template = ChatTemplate(read_source(path), template_tokens(self._text), path)
        session = Session(lambda length: engine.stepper(), plan_steps(engine.signatures).max_length)
        return ChatSession(session, self._text, template, self.manifest.get("generation"))

    # === One forward pass ===

    @overload
    def classify(
        self,
        text: Medium,
        top: int | None = None,
        truncate: bool = False,
        threshold: float | None = None,
        *,
        labels: Sequence[str] | None = None,
        hypothesis: str | None = None,
        several: bool = False,
    ) -> Labels: ...
    @overload
    def classify(
        self,
        text: Several[Medium],
        top: int | None = None,
        truncate: bool = False,
        threshold: float | None = None,
        *,
        labels: Sequence[str] | None = None,
        hypothesis: str | None = None,
        several: bool = False,
    ) -> list[Labels]: ...
    def classify(
        self,
        text,
        top: int | None = None,
        truncate: bool = False,
        threshold: float | None = None,
        *,
        labels: Sequence[str] | None = None,
        hypothesis: str | None = None,
        several: bool = False,
    ) -> list:
        """Labels and their probabilities, the likeliest first.

        Of a model with `problem_type` "multi_label_classification" each label has a probability by
        itself, so that several may apply, or none: where its manifest has `thresholds`, the answer
        is the labels that reach theirs. Of one with "regression" it is a number, not a probability.

        Args:
            text: a text, a pair of texts (a tuple), or a list of either; for a model that reads
                media an image, a sound or a video (see `MediaAbilities`), or a list of them.
            top: only this number of labels, whatever the thresholds of the manifest.
            truncate: cut a text, or a sound, that is too long.
            threshold: only labels with at least this probability, instead of the manifest's; 0
                gives all.
            labels: labels of your own, of a model of natural-language inference, which says what
                follows from a text: how likely a sentence with the label follows (Yin et al. 2019).
            hypothesis: this sentence, with {} for the label. Default: "This text is about {}."
            several: each of these labels has a probability by itself, so that several may apply.

        Returns:
            [(label, probability)], for a list one such list each.

        Raises:
            OverflowTextError: longer than the model's static length.
            DataError: a medium that cannot be read.
            ModelzooError: a bundle that does not classify; a threshold outside 0 to 1.

        Example:
            >>> load("classifier.bundle").classify("a fine film", top=1)
            [('positive', 0.98...)]
            >>> load("nli.bundle").classify("It rained.", top=1, labels=["sport", "weather"])
            [('weather', 0.97...)]
        """
        self._need("classify")
        _check_top(top)
        problem_type = self.manifest.get("problem_type")
        check_threshold(threshold, problem_type)
        if labels is not None:
            how = hypothesis or HYPOTHESIS
            answers = self._entailed(text, labels, how, several, truncate)
            answers = [above(answer, threshold)[:top] for answer in answers]
            return answers[0] if isinstance(text, str) else answers
        if hypothesis is not None or several:
            raise ModelzooError(
                "hypothesis and several are for labels of your own",
                next_step="pass labels=[...], or leave them out",
            )
        labels = self.manifest.get("labels")
        least = threshold
        if threshold is None and top is None:
            least = self.manifest.get("thresholds")

        def answer(outputs, *_) -> list:
            return _labelled(outputs["logits"], labels, top, problem_type, least)

        kind = medium_of(self.engine.signatures["serve"])
        if kind is not None:
            answers = self._media_answers(kind, "serve", text, answer, truncate)
            return answers[0] if is_one_medium(text) else answers
        answers = self._answers("serve", text, truncate, answer)
        return answers[0] if is_one_text(text) else answers

    def _entailed(self, text, labels, hypothesis: str, several: bool, truncate: bool) -> list:
        """(label, probability) of each label for each text, the likeliest first."""
        yes, no = entailment(self.manifest.get("labels"), self.manifest["name"])
        texts = [text] if isinstance(text, str) else many_texts(text)
        pairs = pairs_of(texts, labels, hypothesis)
        logits = self._answers("serve", pairs, truncate, lambda outputs, _: outputs["logits"])
        check_numbers(np.array(logits), "the model's answer")
        rows = np.reshape(logits, (len(texts), len(labels), -1))
        return [entailed(row, list(labels), yes, no, several) for row in rows]

    def embed(
        self, text: str | Several[str | tuple[str, str]], truncate: bool = False
    ) -> np.ndarray:
        """A text's vector (D,) float32; for a list of N texts (N, D).

        Raises:
            OverflowTextError: longer than the model's static length.
            ModelzooError: a bundle that does not embed.

        Example:
            >>> load("minilm.bundle").embed(["a dog", "a puppy"]).shape
            (2, 256)
        """
        self._need("embed")
        assert self.embedding_signature is not None  # or it could not
        vectors = self._answers(
            self.embedding_signature, text, truncate, lambda outputs, _: outputs["embedding"]
        )
        if not vectors:
            raise ModelzooError("there is no text to embed: the list is empty")
        found = vectors[0] if is_one_text(text) else np.stack(vectors)
        check_numbers(found, "the text's vector")
        return found

    @overload
    def fill_mask(
        self, text: str, top: int = 5, truncate: bool = False
    ) -> Labels | list[Labels]: ...
    @overload
    def fill_mask(
        self, text: Several[str], top: int = 5, truncate: bool = False
    ) -> list[Labels | list[Labels]]: ...
    def fill_mask(self, text: str | Several[str], top: int = 5, truncate: bool = False) -> list:
        """What may stand where the mask token does, the likeliest first.

        Args:
            text: holds the tokenizer's mask token, "[MASK]" for example, once or several times.

        Returns:
            [(token's text, probability)]; for several masks one such list each; for a list of
            texts, one such result each.

        Raises:
            ModelzooError: no mask in the text, or a bundle that does not fill masks.

        Example:
            >>> load("bert.bundle").fill_mask("Paris is the [MASK] of France.", top=1)
            [('capital', 0.94...)]
        """
        self._need("fill_mask")
        _check_top(top)
        mask = self._text.role("mask")
        texts = [text] if isinstance(text, str) else many_texts(text)

        def check(text, token_ids) -> None:
            if mask not in token_ids:
                raise ModelzooError(
                    f"the text holds no mask (or it was cut off): {text!r}",
                    next_step=f"write {self._text.id_to_token(mask)} where a word is missing",
                )

        def fill(outputs, token_ids) -> list:
            check_numbers(outputs["logits"], "the model's answer")
            answers = []
            for place in (place for place, token in enumerate(token_ids) if token == mask):
                probabilities = softmax(outputs["logits"][place])
                ids = np.argsort(-probabilities, kind="stable")[:top]
                answers.append([(self._word(n), float(probabilities[n])) for n in ids])
            return answers[0] if len(answers) == 1 else answers

        answers = self._answers("serve", texts, truncate, fill, check, allow=("mask",))
        return answers[0] if isinstance(text, str) else answers

    def _answers(self, base: str, texts, truncate: bool, answer, check=None, allow=()) -> list:
        """`answer(outputs, token_ids)` of each text, or pair, with its own row of the outputs.

        All texts are looked at before any is run; each goes through the smallest signature of
        those like `base` that it fits, and texts of similar length together where one has rows.
        """
        texts = [texts] if is_one_text(texts) else many_texts(texts)
        sizes = sizes_of(self.engine.signatures, base)
        encoded = [self._encoded(one, sizes[-1].length, truncate, allow) for one in texts]
        if check is not None:
            for text, (token_ids, _) in zip(texts, encoded, strict=True):
                check(text, token_ids)
        return self._run_encoded(sizes, encoded, answer)

    def _run_encoded(self, sizes, encoded: Sequence[tuple[list, list]], answer) -> list:
        """`answer(outputs, token_ids)` of each (token ids, segments), as in `_answers`."""
        answers: list = [None] * len(encoded)
        for size, group in plan_calls(sizes, [len(token_ids) for token_ids, _ in encoded]):
            rows = [self._padded(size.name, *encoded[one]) for one in group]
            rows += rows[-1:] * (size.rows - len(rows))
            inputs = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
            outputs = self.engine.run(size.name, inputs)
            for row, one in enumerate(group):
                own = {key: value[row] for key, value in outputs.items()}
                answers[one] = answer(own, encoded[one][0])
        return answers

    def _encoded(self, text, length: int, truncate: bool, allow=()) -> tuple[list, list]:
        """The token ids of a text, or of a pair of texts, and their segments."""
        a, b = text if isinstance(text, tuple) else (text, None)
        token_ids, segment_ids = self._text.encode_pair(
            self._prepared(a),
            None if b is None else self._prepared(b),
            length,
            truncate=truncate,
            allow=allow,
        )
        if not token_ids:
            raise ModelzooError("the text has no tokens")
        return token_ids, segment_ids

    def _padded(self, name: str, token_ids, segment_ids=None) -> dict[str, np.ndarray]:
        """(1, T) int32 arrays of those inputs that the signature has, padded on the right."""
        info = self.engine.signatures[name].inputs
        length = info["token_ids"].shape[1]
        if len(token_ids) > length:
            raise OverflowTextError(
                f"the text has {len(token_ids)} tokens; the model reads {length}",
                next_step="shorten the text, or pass truncate=True to cut it",
            )
        values = {
            "token_ids": (token_ids, self._text.role("pad")),
            "padding_mask": ([1] * len(token_ids), 0),
            "segment_ids": (segment_ids or [0] * len(token_ids), 0),
        }
        return {
            key: np.array([[*row, *[pad] * (length - len(row))]], np.int32)
            for key, (row, pad) in values.items()
            if key in info
        }

    def _prepared(self, text: str) -> str:
        if not isinstance(text, str):
            raise ModelzooError(f"a text must be str, not {type(text).__name__}")
        return text.lower() if self._processing.get("lowercase") else text

    def _word(self, token: int) -> str:
        text = self._text.decode([int(token)], skip_special=False)
        return text.strip() or text


def _abilities(
    signatures: Mapping[str, SignatureInfo], tokenizer, chat_template=None
) -> tuple[str, ...]:
    """What fits, as the signatures' outputs tell it."""
    media = media_abilities(signatures, tokenizer)
    logits = signatures["serve"].outputs.get("logits") if "serve" in signatures else None
    classifies = logits is not None and len(logits.shape) == 2
    if tokenizer is None:
        reads_media = classifies and medium_of(signatures["serve"]) is not None
        return ("classify", *media) if reads_media else tuple(media)
    able = ["generate"] if "decode" in signatures else []
    if captions_images(signatures):
        able = [*able, "caption"] if media_kinds(signatures) else ["caption"]
    elif transcribes(signatures):
        able = ["transcribe"]
    elif able and chat_template is not None and "encode" not in signatures:
        able.append("chat")
    if "generate" in able and any(name.startswith("score_") for name in signatures):
        able.append("score")
    if classifies:
        able.append("classify")
    if logits is not None and classifies and logits.shape[1] == 1:
        able.append("rank")
    if "serve" in signatures and set(OUTPUTS) <= set(signatures["serve"].outputs):
        able.append("answer")
    if logits is not None and len(logits.shape) == 3 and "mask" in tokenizer.roles:
        able += ["fill_mask", "score"]
    if _embedding_signature(signatures):
        able.append("embed")
    return (*able, *media)


def _tags(signatures) -> bool:
    """Whether each token has logits of its own."""
    logits = signatures["serve"].outputs.get("logits") if "serve" in signatures else None
    return logits is not None and len(logits.shape) == 3


def _embedding_signature(signatures) -> str | None:
    for name in ("embed", "serve", "encode_text"):
        if name in signatures and "embedding" in signatures[name].outputs:
            return name
    return None


def _ranks(sources: Sequence[str | Source]) -> list[int]:
    return duplicate_ranks([identity_of(one) for one in sources])


def is_one_text(text) -> bool:
    """Whether it is a text or a pair, and not a list of them."""
    return isinstance(text, str | tuple)


def many_texts(texts) -> list:
    """A list of texts; rejected here if it is none, by name and not by its first odd use."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise ModelzooError(f"a text, or a list of texts, not {type(texts).__name__}")
    return list(texts)


def _check_top(top) -> None:
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
        raise ModelzooError(f"top must be a whole number, 1 or more; got {top!r}")
