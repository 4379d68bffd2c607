"""`classify`, `fill_mask` and `embed` of Keras models: the device runtime's own code over Keras.

What a device does with a bundle's signatures, a Keras model does with the same signatures before
they are exported. So there is one way from text to arrays and from arrays to an answer.
"""

from __future__ import annotations

import numpy as np

from modelzoo.errors import ExportError
from modelzoo.runtime.abilities.encoding import is_one_text, many_texts
from modelzoo.runtime.model import Model
from modelzoo.signature import Signature
from modelzoo.tasks.shared.encoder_signatures import encoder_signatures
from modelzoo.tasks.shared.keras_engine import KerasEngine, device_model, with_rows
from modelzoo.tasks.shared.stepper import power_of_two

_BATCH = 8  # texts in a call; more of them are no quicker on a CPU, and less alike


class Answers:
    """Mixed into a `TaskModel` that answers in one pass, and says how in `device_functions`."""

    def device_functions(self) -> dict:
        """{name: function of the backbone's inputs, each (B, T)}: `embed`, maybe `serve`."""
        raise NotImplementedError

    def export_signatures(
        self,
        max_length: int | None = None,
        lengths: tuple[int, ...] | None = None,
        batch_sizes: tuple[int, ...] = (1,),
    ) -> dict:
        """The `device_functions` in several sizes; see `encoder_signatures`.

        Raises:
            ExportError: a size below 1, or longer than the model's texts are.
        """
        limit = getattr(self, "max_length", None)
        if limit and max_length and max_length > limit:
            raise ExportError(
                f"export.max_length is {max_length}, and the texts have {limit} tokens at most",
                next_step=f"take {limit} or less, or raise task_options.max_length",
            )
        functions = self.device_functions()
        return encoder_signatures(
            self.backbone, functions, max_length or limit, lengths, batch_sizes
        )

    def embed(self, text, truncate: bool = False) -> np.ndarray:
        """A text's vector, for a list of N texts (N, width); see `runtime.Model.embed`.

        A list is worked through in batches of texts of similar length.
        """
        texts = [text] if is_one_text(text) else many_texts(text)
        if len(texts) < 2:
            return self._over_keras(text, truncate).embed(text, truncate)
        similar: dict[int, list[int]] = {}  # padded length -> rows of the list
        for row, one in enumerate(texts):
            similar.setdefault(self._padded_length(one), []).append(row)
        vectors: list = [None] * len(texts)
        for rows in similar.values():
            group = [texts[row] for row in rows]
            runtime = self._over_keras(group, truncate, min(_BATCH, power_of_two(len(rows), 1)))
            for row, vector in zip(rows, runtime.embed(group, truncate), strict=True):
                vectors[row] = vector
        return np.stack(vectors)

    def _padded_length(self, text) -> int:
        """Tokens of a text, or of a pair, with the control tokens around them: of few sizes."""
        tokenizer, parts = self.need_tokenizer(), text if isinstance(text, tuple) else (text,)
        length = 3 + sum(len(tokenizer.encode(part)) for part in parts)
        limit = getattr(self, "max_length", None) or self.backbone.max_length
        return min(power_of_two(length, 16), limit or length)

    def _over_keras(self, text, truncate: bool, batch: int | None = None) -> Model:
        """The runtime's `Model` over this one, with signatures just long enough for the texts.

        Args:
            batch: rows of the signatures; then there is only what gives an embedding.
        """
        self.need_tokenizer()
        texts = [text] if is_one_text(text) else many_texts(text)
        length = max(map(self._padded_length, texts), default=16)
        engine = self.compile_once(
            f"engine/{length}/{batch}", lambda: KerasEngine(self, self._sized(length, batch))
        )
        return device_model(self, engine, processing=self.processing())

    def _sized(self, length: int, batch: int | None) -> dict[str, Signature]:
        """The signatures for texts of `length` tokens; of `batch` texts `embed` alone."""
        signatures = self.export_signatures(max_length=length, lengths=())
        if batch is None:
            return signatures
        return {"embed": with_rows(signatures["embed"], batch)}
