"""Small towers for contrastive models, and batches that even they learn."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from modelzoo.backbones.base import Backbone
from modelzoo.backbones.contrastive import Contrastive
from modelzoo.tasks.contrastive import ContrastiveModel

WIDTH, ROWS = 16, 8


@keras.saving.register_keras_serializable("tests")
class Flat(Backbone):
    """One dense layer over all numbers of an input."""

    max_length = None

    def __init__(self, source: str, shape, hidden_dim: int = WIDTH, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self._remember(locals())
        self.source, self.shape, self.hidden_dim = source, list(shape), hidden_dim
        self.dropout = keras.layers.Dropout(dropout, seed=1)
        self.dense = keras.layers.Dense(hidden_dim, activation="tanh")
        self.dense.build((None, int(np.prod(shape))))
        if source == "images":
            self.processing = {"image": {"size": self.shape[:2], "resize": "squash"}}
        else:
            self.processing = {"audio": {"sample_rate": 8000, "num_samples": self.shape[0]}}
        self.built = True

    def call(self, inputs, training=None):
        x = inputs[self.source] if isinstance(inputs, dict) else inputs
        x = ops.reshape(ops.cast(x, "float32"), (-1, int(np.prod(self.shape))))
        x = x / 255.0 if self.source == "images" else x
        return {"pooled": self.dense(self.dropout(x, training=training))}


def text_tower(**changes):
    from modelzoo.architectures import bert

    values = {"vocab_size": 40, "num_layers": 1, "hidden_dim": WIDTH, "num_heads": 2}
    values |= {"max_length": 8, "dropout": 0.0, "attention_dropout": 0.0, "norm_epsilon": 1e-5}
    return bert.build(**{**values, **changes})


def backbone(kinds=("image", "text"), dropout: float = 0.0, options=None, **changes) -> Contrastive:
    """Seeded: the same each time."""
    keras.utils.set_random_seed(7)
    towers = {
        "image": lambda: Flat("images", (4, 4, 3), dropout=dropout),
        "text": lambda: text_tower(dropout=dropout),
        "audio": lambda: Flat("audio", (32,), dropout=dropout),
    }
    chosen = {kind: towers[kind]() for kind in kinds}
    return Contrastive(chosen, options or {}, embed_dim=12, **changes)


def model(kinds=("image", "text"), dropout: float = 0.0, **changes) -> ContrastiveModel:
    own = {key: changes.pop(key) for key in ("options", "scale") if key in changes}
    if changes.get("loss") == "sigmoid":
        own |= {"initial_scale": np.log(10.0), "initial_bias": -10.0}
    return ContrastiveModel(backbone(kinds, dropout, **own), **changes)


def batch(rows: int = ROWS, kinds=("image", "text"), seed: int = 0):
    """(x, y, weight): row i of all kinds is made of the same secret."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.arange(4, 36))[:rows]
    x = {
        "images": rng.integers(0, 256, (rows, 4, 4, 3)).astype("uint8"),
        "token_ids": np.stack([[2, i, (i * 7) % 36 + 4, 3, 0, 0] for i in ids]).astype("int32"),
        "padding_mask": np.tile([1] * 4 + [0] * 2, (rows, 1)).astype("int32"),
        "audio": rng.normal(0, 0.3, (rows, 32)).astype("float32"),
    }
    inputs = {"image": ("images",), "text": ("token_ids", "padding_mask"), "audio": ("audio",)}
    x = {name: x[name] for kind in kinds for name in inputs[kind]}
    y = {kind: np.arange(rows, dtype="int32") for kind in kinds}
    return x, y, np.ones(rows, "float32")


def loss_on_jax(model, trainable, non_trainable, x, y, weight):
    """The loss of a training step as Keras computes it, for `jax.grad`."""
    variables = [v.value for v in model.optimizer.variables]
    found = model.compute_loss_and_updates(
        trainable, non_trainable, [], x, y, weight, True, optimizer_variables=variables
    )
    return found[0]
