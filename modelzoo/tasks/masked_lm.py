"""BERT's pretraining: guess the masked tokens, and whether B follows A."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from modelzoo.data.batches import Batches
from modelzoo.layers.dense import projection
from modelzoo.layers.feed_forward import activation
from modelzoo.layers.norms import make_norm
from modelzoo.runtime.abilities.scoring import MaskedScoring
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.signature import Tensor
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.encoder_signatures import mean_embedding
from modelzoo.tasks.shared.scores import token_scores
from modelzoo.tasks.shared.step_signatures import token_log_probs
from modelzoo.tasks.shared.stepper import compiled, int_tensor, power_of_two
from modelzoo.tasks.shared.text_abilities import Answers

_MASKED = ("token_ids", "padding_mask", "segment_ids", "mask_positions")


@keras.saving.register_keras_serializable("modelzoo")
class MaskedLM(MaskedScoring, Answers, TaskModel):
    """An encoder with BERT's two pretraining heads (Devlin et al. 2019, 3.1).

    Call: the encoder's inputs, and optionally `mask_positions` (B, M) -> `{"mlm": logits, "nsp":
    (B, 2)}`; the logits are (B, M, vocab_size) at those positions, which saves most of the work in
    training, or (B, T, vocab_size) without them. `nsp` class 0 says that B follows A.
    """

    def __init__(self, backbone, next_sentence: bool = True, **kwargs):
        super().__init__(backbone, **kwargs)
        config, policy = backbone.config, self.dtype_policy
        self.width = backbone.tokens.hidden_dim  # of the token table, which gives the logits
        stddev = config.initializer_range
        self.next_sentence = next_sentence
        self.transform = projection(
            self.width, stddev, use_bias=config.ffn_bias, dtype=policy, name="transform"
        )
        self.activation = activation(config.activation)
        self.norm = make_norm(config, dtype=policy, name="norm")
        self.bias = self.add_weight(
            shape=(backbone.vocab_size,), initializer="zeros", name="decoder_bias"
        )
        self.nsp = None
        if next_sentence:
            self.nsp = projection(2, stddev, dtype=policy, name="nsp")
        self.build()

    def build(self, input_shape=None) -> None:
        width = self.backbone.config.hidden_dim
        self.transform.build((None, None, width))
        self.norm.build((None, None, self.width))
        if self.nsp is not None:
            self.nsp.build((None, width))
        self.built = True

    def get_config(self) -> dict:
        return {**super().get_config(), "next_sentence": self.next_sentence}

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        hidden = self.backbone(inputs, training=training)
        x = hidden["sequence"]
        if isinstance(inputs, dict) and "mask_positions" in inputs:
            positions = ops.expand_dims(ops.cast(inputs["mask_positions"], "int32"), -1)
            x = ops.take_along_axis(x, positions, axis=1)  # (B, M, hidden_dim)
        x = self.norm(self.activation(self.transform(x)))
        outputs = {"mlm": self.backbone.tokens.logits(x) + ops.cast(self.bias, x.dtype)}
        if self.nsp is not None:
            outputs["nsp"] = self.nsp(hidden["pooled"])
        return outputs

    def fill_mask(self, text, top: int = 5, truncate: bool = False) -> list:
        """What may stand where "[MASK]" does; see `runtime.Model.fill_mask`."""
        return self._over_keras(text, truncate).fill_mask(text, top, truncate)

    def _scoring_tokenizer(self) -> Tokenizer:
        return self.need_tokenizer()

    def _longest_masked(self) -> int:
        return self.backbone.max_length

    def _masked(self, copies, segments, places, targets) -> tuple[np.ndarray, np.ndarray]:
        """All masked copies of a text in one batch, padded to few sizes."""
        rows, length = (power_of_two(size, 8) for size in copies.shape)
        length = min(length, self.backbone.max_length)
        spare = (0, rows - len(copies)), (0, length - copies.shape[1])
        inputs = {
            "token_ids": np.pad(copies, spare),
            "padding_mask": np.pad(np.ones_like(copies), spare),
            "segment_ids": np.pad(np.tile(np.array(segments, np.int32), (len(copies), 1)), spare),
            "mask_positions": np.pad(places, spare[0])[:, None],
        }
        score = self.compile_once("masked scores", lambda: compiled(self._masked_scores, self))
        tensors = (int_tensor(inputs[key]) for key in _MASKED)
        found = score(int_tensor(np.pad(targets, spare[0])[:, None]), *tensors)
        log_probs, gap = (ops.convert_to_numpy(one)[: len(copies), 0] for one in found)
        return log_probs, gap

    def _masked_scores(self, target_ids, *tensors) -> tuple:
        inputs = dict(zip(_MASKED, tensors, strict=True))
        return token_log_probs(self(inputs, training=False)["mlm"], target_ids)

    def device_functions(self) -> dict:
        """`serve`: `logits` (B, T, vocab_size), `nsp_logits` (B, 2); `embed`: a sentence vector."""

        def serve(inputs):
            outputs = self(inputs, training=False)
            names = {"mlm": "logits", "nsp": "nsp_logits"}
            return {names[key]: ops.cast(value, "float32") for key, value in outputs.items()}

        return {"serve": serve, "embed": mean_embedding(self.backbone)}


class MaskedLMTask(Task):
    """Guess masked tokens (15 %), and with `next_sentence` whether two sentences belong together.

    Raw data: documents (`text`).
    """

    name = "masked-lm"
    fine_tuning = {"length": 128}
    does = "guesses masked tokens, and turns a text into a vector"
    pipeline_tag = "fill-mask"
    special_tokens = ENCODER_TOKENS
    frame = "pair"
    example = 'print(model.embed("In the beginning"))'
    abilities = ("fill_mask", "embed", "score")

    def __init__(self, *, next_sentence: bool = True):
        self.next_sentence = next_sentence

    def model(self, backbone) -> MaskedLM:
        self.check_backbone(backbone, "pooler")
        return MaskedLM(backbone, next_sentence=self.next_sentence)

    def losses(self) -> tuple:
        if not self.next_sentence:
            return {"mlm": token_loss()}, {"mlm": [token_accuracy()]}
        return (
            {"mlm": token_loss(), "nsp": token_loss()},
            {"mlm": [token_accuracy()], "nsp": [token_accuracy()]},
        )

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data import masked_lm_batches

        return masked_lm_batches(raw, tokenizer, next_sentence=self.next_sentence, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`mlm_loss`, `mlm_accuracy` over masked tokens, `nsp_accuracy`, and the sum `loss`."""
        data = list(batches.evaluation())
        heads = ("mlm", "nsp") if self.next_sentence else ("mlm",)
        scores = {}
        for head in heads:
            for key, value in token_scores(model, data, head).items():
                scores[f"{head}_{key}"] = value
        scores["loss"] = float(np.sum([scores[f"{head}_loss"] for head in heads]))
        return scores

    def of_device(self, outputs, x) -> dict:
        """The logits at the positions that are asked for."""
        at = x["mask_positions"][..., None]
        found = {"mlm": np.take_along_axis(outputs["logits"], at, axis=1)}
        return found | ({"nsp": outputs["nsp_logits"]} if "nsp_logits" in outputs else {})

    @classmethod
    def options_of_config(cls, config, names) -> dict:
        return {"next_sentence": any("seq_relationship" in name for name in names)}

    @classmethod
    def config_of(cls, model, classes) -> dict:
        """The second of two classes is the one without next-sentence prediction."""
        bare = len(classes) > 1 and not model.next_sentence
        return {"architectures": [classes[1]]} if bare else {}
