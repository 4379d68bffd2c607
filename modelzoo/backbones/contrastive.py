"""Towers of different kinds that meet in one space: CLIP, SigLIP, CLAP, ImageBind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import keras
from keras import ops

from modelzoo.backbones.base import Backbone, pooled_width, width_of
from modelzoo.backbones.fusion import opened_parts, saved_parts
from modelzoo.errors import RecipeError
from modelzoo.layers.contrastive_loss import Scales
from modelzoo.layers.dense import projection
from modelzoo.layers.pooling import POOLINGS, unit
from modelzoo.signature import Tensor

# What each kind of tower reads, its main input first.
INPUTS = {
    "image": ("images",),
    "text": ("token_ids", "padding_mask", "segment_ids"),
    "audio": ("audio", "num_samples"),
    "depth": ("depth",),
    "thermal": ("thermal",),
    "imu": ("imu",),
}
# A tower's own options, and what they are where its table says nothing.
TOWER = {
    "pooling": "pooled",
    "projection": "linear",
    "projection_bias": False,
    "padding": "hidden",
    "scale": "learned",
    "frozen": False,
}
PROJECTIONS = ("linear", "mlp", "none")
SCALES = ("shared", "asking", "product")
MAX_SCALE = math.log(100.0)


@keras.saving.register_keras_serializable("modelzoo")
class Clamp(keras.constraints.Constraint):
    """Keeps a weight within bounds after each step of the optimizer (Radford et al. 2021, 2.5).

    Example:
        >>> float(Clamp(0.0, 1.0)(ops.array(3.0)))
        1.0
    """

    def __init__(self, low: float, high: float):
        self.low, self.high = low, high

    def __call__(self, w):
        return ops.clip(w, self.low, self.high)

    def get_config(self) -> dict:
        return {"low": self.low, "high": self.high}


@keras.saving.register_keras_serializable("modelzoo")
class Projection(keras.layers.Layer):
    """Two dense layers with a ReLU between them (CLAP). Call: (B, D) -> (B, units)."""

    def __init__(self, width: int, units: int, stddev: float = 0.02, **kwargs):
        super().__init__(**kwargs)
        self.width, self.units = width, units
        policy = self.dtype_policy
        self.hidden = projection(units, stddev, activation="relu", dtype=policy, name="hidden")
        self.output_projection = projection(units, stddev, dtype=policy, name="output")

    def build(self, input_shape=None) -> None:
        self.hidden.build((None, self.width))
        self.output_projection.build((None, self.units))
        self.built = True

    def call(self, x) -> Tensor:
        return self.output_projection(self.hidden(x))


@keras.saving.register_keras_serializable("modelzoo")
class Contrastive(Backbone):
    """Two towers or more, a projection of each, and what makes logits of their cosines.

    Args:
        towers: kind ("image", "text", "audio" …) -> backbone.
        options: kind -> values of `TOWER`; see `architectures.contrastive`.
        embed_dim: E, of the space that they share.
        scale: `"shared"`, `"asking"` or `"product"`.

    Call: a dict with the inputs of some or all towers -> a dict of kind -> (B, E) float32 of length
    1, and the scalars `logit_scale` and, where there is one, `logit_bias`.

    Attributes: `image`, `text` … are the towers, `image_projection` … what stands on them (None for
    none), `logit_scale` the logarithm of the factor, or `text_logit_scale` and so on.
    """

    def __init__(
        self,
        towers: Mapping[str, keras.Model],
        options: Mapping[str, Mapping],
        embed_dim: int,
        scale: str = "shared",
        initial_scale: float = math.log(1 / 0.07),
        initial_bias: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # The towers are attributes of their own; in two places Keras would save them in the first.
        self._remember({**locals(), "towers": None})
        self._check(towers, options, scale)
        self.kinds = [kind for kind in INPUTS if kind in towers]
        self.options = {kind: {**TOWER, **options.get(kind, {})} for kind in self.kinds}
        self.hidden_dim, self.scale = embed_dim, scale
        text = towers.get("text")
        self.config = None
        self.max_length = getattr(text, "max_length", None)
        self.vocab_size = getattr(text, "vocab_size", None)
        segments = getattr(text, "num_segments", 0)
        self.num_segments = segments if segments > 1 else 0  # one alone needs no input (RoBERTa)
        self.processing = {}

        # === Layers ===
        for kind in self.kinds:
            tower = towers[kind]
            if self.options[kind]["frozen"]:
                tower.trainable = False
            self.processing.update(getattr(tower, "processing", None) or {})
            setattr(self, kind, tower)
            setattr(self, f"{kind}_projection", self._projection(kind, tower))
        self.logit_bias = None
        self.build()

    @staticmethod
    def _check(towers, options, scale) -> None:
        if len(towers) < 2:
            raise RecipeError(
                "a contrastive model needs two towers or more",
                next_step='add a table such as [model.text] with recipe = "bert-tiny"',
            )
        for kind, table in options.items():
            pooling = table.get("pooling", "pooled")
            for key, value, choices in (
                ("pooling", pooling, ("pooled", "flatten", *POOLINGS)),
                ("projection", table.get("projection", "linear"), PROJECTIONS),
                ("padding", table.get("padding", "hidden"), ("hidden", "visible")),
            ):
                if value not in choices:
                    raise RecipeError(
                        f"model.{kind}.{key} must be one of {', '.join(choices)}, not {value!r}"
                    )
        if scale not in SCALES:
            raise RecipeError(f"scale must be one of {', '.join(SCALES)}, not {scale!r}")

    def _projection(self, kind, tower):
        options, width = self.options[kind], self._width(kind, tower)
        name, policy, stddev = f"{kind}_projection", self.dtype_policy, width**-0.5
        if options["projection"] == "mlp":
            return Projection(width, self.hidden_dim, stddev, dtype=policy, name=name)
        if options["projection"] == "linear":
            bias = options["projection_bias"]
            return projection(self.hidden_dim, stddev, use_bias=bias, dtype=policy, name=name)
        if width != self.hidden_dim:
            raise RecipeError(
                f"model.{kind} has no projection, and gives {width} numbers where embed_dim is "
                f"{self.hidden_dim}"
            )
        return None

    def _width(self, kind, tower) -> int:
        """Numbers of what is pooled of a tower's outputs."""
        pooling = self.options[kind]["pooling"]
        if pooling != "flatten":
            return pooled_width(tower) if pooling == "pooled" else width_of(tower)
        if not hasattr(tower, "num_positions"):
            raise RecipeError(
                f'model.{kind}.pooling = "flatten" needs a tower of a fixed number of positions',
                next_step='take a convnet, or pooling = "pooled"',
            )
        return tower.num_positions * width_of(tower)

    def build(self, input_shape=None) -> None:
        for kind in self.kinds:
            layer = getattr(self, f"{kind}_projection")
            if layer is not None and not layer.built:
                layer.build((None, self._width(kind, getattr(self, kind))))
        if self.scale == "shared":
            self.logit_scale = self._scalar("logit_scale", self._options["initial_scale"])
        else:
            for kind in self.kinds:
                name = f"{kind}_logit_scale"
                learned = self.options[kind]["scale"] == "learned"
                value = self._scalar(name, self._options["initial_scale"]) if learned else None
                setattr(self, name, value)
        if self._options["initial_bias"] is not None:
            self.logit_bias = self._scalar("logit_bias", self._options["initial_bias"], clamp=False)
        self.built = True

    def _scalar(self, name, value, clamp=True):
        # With a bias (SigLIP) the factor finds its own bounds.
        clamp = clamp and self._options["initial_bias"] is None
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(value),
            constraint=Clamp(0.0, MAX_SCALE) if clamp else None,
            dtype="float32",
            name=name,
        )

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        found = {}
        for kind in self.kinds:
            if INPUTS[kind][0] in inputs:
                found[kind] = self.embed(kind, inputs, training)
        scales = self.scales()
        kinds = [*found]
        asking, asked = kinds[0], kinds[-1]
        found["logit_scale"] = scales.factors.get((asking, asked), self._factor(asking))
        if scales.bias is not None:
            found["logit_bias"] = scales.bias
        return found

    def embed(self, kind: str, inputs, training=None) -> Tensor:
        """One tower's inputs -> (B, E) float32 of length 1."""
        tower, options = getattr(self, kind), self.options[kind]
        own = {name: inputs[name] for name in INPUTS[kind] if inputs.get(name) is not None}
        if options["padding"] == "visible":
            own.pop("padding_mask", None)
        if options["frozen"]:
            training = False
        outputs = tower(own, training=training)
        x = pooled(outputs, own.get("padding_mask"), options["pooling"])
        layer = getattr(self, f"{kind}_projection")
        return unit(ops.cast(x if layer is None else layer(x), "float32"))

    def scales(self) -> Scales:
        """The factors of the cosines of each pair of kinds, and the bias."""
        factors = {}
        for asking in self.kinds:
            for asked in self.kinds:
                factor = self._factor(asking)
                if self.scale == "product":
                    factor = factor * self._factor(asked)
                factors[asking, asked] = factor
        bias = self.logit_bias
        return Scales(factors, None if bias is None else ops.convert_to_tensor(bias))

    def _factor(self, kind):
        if self.scale == "shared":
            return ops.exp(ops.convert_to_tensor(self.logit_scale))
        weight = getattr(self, f"{kind}_logit_scale")
        if weight is None:
            return float(self.options[kind]["scale"])
        return ops.exp(ops.convert_to_tensor(weight))

    def get_config(self) -> dict:
        towers = saved_parts({kind: getattr(self, kind) for kind in self.kinds})
        return {**super().get_config(), "towers": towers, "options": self.options}

    @classmethod
    def from_config(cls, config, custom_objects=None) -> Self:
        return cls(**{**config, "towers": opened_parts(config["towers"], custom_objects)})


def pooled(outputs, padding_mask, pooling: str) -> Tensor:
    """(B, D): what of a tower's outputs stands for the whole.

    Raises:
        RecipeError: `"pooled"`, and the tower has no such output.
    """
    if pooling == "pooled":
        if not isinstance(outputs, dict) or "pooled" not in outputs:
            raise RecipeError(
                "the tower gives no pooled output",
                next_step='say pooling = "mean", "cls", "max" or "last" in its table',
            )
        return outputs["pooled"]
    if pooling == "flatten":
        x = outputs["sequence"]
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2]))
    if not isinstance(outputs, dict):
        return POOLINGS[pooling](outputs, padding_mask)
    return POOLINGS[pooling](outputs["sequence"], outputs.get("padding_mask", padding_mask))
