"""From speech to text."""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import ops

from modelzoo.data.batches import Batches
from modelzoo.errors import WeightsError
from modelzoo.runtime.abilities.transcription import prompt_of, transcribe
from modelzoo.runtime.generation.loop import Written
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.signature import Signature, Tensor, TensorSpec
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.shared.checkpoints import generation_config
from modelzoo.tasks.shared.languages import LANGUAGES
from modelzoo.tasks.shared.scores import token_scores, with_perplexity
from modelzoo.tasks.shared.step_signatures import memory_specs, step_signatures
from modelzoo.tasks.shared.stepper import KerasStepper, compile_steps, compiled, int_tensor, window

_NEVER = ("suppress_tokens", "begin_suppress_tokens")
_SEVERAL_LANGUAGES = 51_865  # tokens of a Whisper that has them


@keras.saving.register_keras_serializable("modelzoo")
class SpeechToText(TaskModel):
    """An encoder over sound and a decoder that writes down what is said.

    Args:
        language: what a model of several languages writes, "en" or "zh"; `None` for one that has
            one language.
        suppress_tokens: ids that are never written: names of noises, for example.
        begin_suppress_tokens: ids that no text begins with.

    Call: `{"audio": (B, N), "token_ids": (B, T), "padding_mask": (B, T)}` -> logits
    (B, T, vocab_size).
    """

    def __init__(
        self,
        backbone,
        language: str | None = None,
        suppress_tokens: tuple[int, ...] = (),
        begin_suppress_tokens: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        self.language = language
        self.takes_length = getattr(backbone, "takes_length", False)
        self.suppressed = tuple(suppress_tokens), tuple(begin_suppress_tokens)
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        return self.backbone.logits(self.backbone(inputs, training=training))

    def get_config(self) -> dict:
        never, not_first = self.suppressed
        config = {
            "language": self.language,
            "suppress_tokens": list(never),
            "begin_suppress_tokens": list(not_first),
        }
        return {**super().get_config(), **config}

    def processing(self) -> dict:
        """As in every model; also `transcription`: see `runtime.abilities.transcription`."""
        never, not_first = self.suppressed
        transcription = {
            "language": self.language,
            "suppress_tokens": list(never),
            "begin_suppress_tokens": list(not_first),
            # Half the window, as the published models: the other half is for a prompt.
            "max_new_tokens": self.backbone.max_length // 2,
        }
        return {**super().processing(), "transcription": transcription}

    def transcribe(
        self, sound, language: str | None = None, *, stream: bool = False, **sampling
    ) -> Written:
        """What is said in a sound of any length; see `runtime.Model.transcribe`."""

        def begin(heard, sampling):
            return self.stepper(heard["audio"], sampling, num_samples=heard["num_samples"])

        return transcribe(
            begin,
            self.need_tokenizer(),
            self.processing(),
            sound,
            language,
            max_length=self.backbone.max_length,
            stream=stream,
            generation=self.generation,
            **sampling,
        )

    def first_tokens(self) -> list[int]:
        """What precedes every text."""
        return prompt_of(self.need_tokenizer(), self.language)

    def media_stepper(self, source, prompt: list[int], sampling: Sampling) -> KerasStepper:
        """A state that has heard `source["audio"]` (1, N)."""
        return self.stepper(source["audio"], sampling, len(prompt), source.get("num_samples"))

    def stepper(
        self, audio, sampling: Sampling, prompt_length: int = 4, num_samples=None
    ) -> KerasStepper:
        """A fresh state that has heard sounds (B, N), a row for each; (B,) samples are real."""
        encode = self.compile_once("encode", lambda: compiled(self.backbone.encode, self))
        length = [int_tensor(num_samples)] if num_samples is not None else []
        memory = encode(ops.convert_to_tensor(audio), *(length if self.takes_length else []))
        slots, prefill = window(self.backbone.max_length, prompt_length, sampling.max_new_tokens)
        steps = self.compile_once("steps", lambda: compile_steps(self.backbone, self))
        return KerasStepper(self.backbone, steps, len(audio), slots, prefill, (memory,))

    def export_signatures(
        self,
        max_length: int | None = None,
        windows: tuple[int, ...] = (128,),
        prefill_lengths: tuple[int, ...] = (4,),
        kv_cache: str = "float32",
        verify_lengths: tuple[int, ...] | None = None,
    ) -> dict:
        """`encode` of one window of sound, `prefill_{T}`, `decode`, `verify_{T}` for its text.

        Args:
            windows, prefill_lengths, kv_cache, verify_lengths: see
                `tasks.shared.step_signatures.step_signatures`; a prompt has four tokens at most.
        """
        backbone = self.backbone
        slots = min(max_length or backbone.max_length, backbone.max_length)
        memory = memory_specs(backbone, backbone.memory_length)
        audio = {"audio": TensorSpec((1, backbone.num_samples))}
        if self.takes_length:
            audio["num_samples"] = TensorSpec((1,), "int32")
            memory["memory_mask"] = TensorSpec((1, backbone.memory_length), "int32")

        def encode(inputs):
            return backbone.encode(**inputs)

        def step(token_ids, positions, cache, inputs):
            return backbone.step(
                token_ids, positions, cache, {name: inputs[name] for name in memory}
            )

        sizes = [size for size in windows if size < slots]
        steps = step_signatures(
            step,
            backbone.init_cache,
            slots,
            sizes,
            prefill_lengths,
            memory,
            kv_cache,
            verify_lengths,
        )
        return {"encode": Signature(encode, audio), **steps}


class SpeechToTextTask(Task):
    """Write down what is said. Raw data: `audio` and `text`.

    Args:
        language, suppress_tokens, begin_suppress_tokens: see `SpeechToText`.
        generation: how a checkpoint generates; see `runtime.generation.defaults`.
    """

    name = "speech-to-text"
    fields = (("audio", "text"),)
    media = ("audio",)
    fine_tuning = {"learning_rate": 1e-5}
    does = "writes down what is said"
    pipeline_tag = "automatic-speech-recognition"
    special_tokens = ("<pad>", "<s>", "</s>")
    example = 'print(model.transcribe((np.zeros(8000, "float32"), 16000)))'
    abilities = ("transcribe",)

    def __init__(
        self,
        *,
        language: str | None = None,
        suppress_tokens: list[int] | None = None,
        begin_suppress_tokens: list[int] | None = None,
        generation: dict | None = None,
    ):
        self.generation = generation
        self.options = {
            "language": language,
            "suppress_tokens": tuple(suppress_tokens or ()),
            "begin_suppress_tokens": tuple(begin_suppress_tokens or ()),
        }

    def examples(self, raw, columns=None) -> list[dict]:
        from modelzoo.data.media import read_media_examples

        return read_media_examples(raw, self.fields, columns)

    def model(self, backbone) -> SpeechToText:
        self.check_backbone(backbone, "encode")
        self.check_backbone(backbone, "step")
        return SpeechToText(backbone, **self.options)

    def losses(self) -> tuple:
        return token_loss(), [token_accuracy()]

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data.speech import speech_batches

        return speech_batches(raw, tokenizer, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats a token), `perplexity`, `accuracy` of tokens."""
        return with_perplexity(token_scores(model, batches.evaluation()))

    @classmethod
    def options_of_config(cls, config, names) -> dict:
        """What a Whisper may not write, and the language that one of several writes, or English."""
        found = {key: [id for id in config[key] if id >= 0] for key in _NEVER if config.get(key)}
        # The one with English alone has a token less.
        whisper = config.get("model_type") == "whisper"
        several = whisper and config["vocab_size"] >= _SEVERAL_LANGUAGES
        language = _language(config)
        if not config.get("is_multilingual", several):
            return found
        return {**found, "language": language or "en"}

    @classmethod
    def extras_of(cls, model, config) -> dict[str, object]:
        options = model.recipe.table("task_options")
        more = {key: options.get(key, []) for key in _NEVER}
        if options.get("language", "en") != "en":
            more["language"] = options["language"]
        return generation_config(model, config, **more, is_multilingual="language" in options)


def _language(config: Mapping) -> str | None:
    """The code of the language that a `generation_config.json` asks for, or `None`.

    It is a code, a token, a name, or the id of a token that is forced at the first place, as older
    files have it.

    Raises:
        WeightsError: they force a translation, which is not written here.

    >>> _language({"language": "<|hi|>"}), _language({"language": "German"})
    ('hi', 'de')
    >>> _language({"forced_decoder_ids": [[1, 7]], "lang_to_id": {"<|fr|>": 7}})
    'fr'
    """
    asked, ids = config.get("language"), config.get("lang_to_id") or {}
    forced = dict(map(tuple, config.get("forced_decoder_ids") or ()))
    translate = (config.get("task_to_id") or {}).get("translate")
    if translate is not None and translate in forced.values():
        raise WeightsError(
            f"forced_decoder_ids with {translate}, to translate, is not supported",
            where="generation_config.json",
            next_step="remove it from the file to write down what is said",
        )
    if asked is None:
        asked = next((name for name, id in ids.items() if id == forced.get(1)), None)
    if asked is None:
        return None
    code = str(asked).lower().removeprefix("<|").removesuffix("|>")
    return LANGUAGES.get(code, code)
