"""A KerasHub backbone as a backbone of this zoo: named inputs, and outputs by the zoo's names.

B batch, T tokens.
"""

from __future__ import annotations

import keras
from keras import ops
from modelzoo.errors import DataError, nearest

__all__ = ["HubBackbone", "input_tensors", "named_outputs"]

# KerasHub's names of outputs, and the zoo's, which its text tasks read.
_OUTPUTS = {"sequence_output": "sequence", "pooled_output": "pooled"}
# What a text need not say: all of it is real, and one segment.
_FILL = {"padding_mask": ops.ones_like, "segment_ids": ops.zeros_like}


@keras.saving.register_keras_serializable("modelzoo_kerashub")
class HubBackbone(keras.Model):
    """Wraps `hub`, a KerasHub backbone, which stays as it is.

    Call: a dict of the backbone's inputs, or the one input alone; `padding_mask` and
    `segment_ids` may be left out. A text encoder gives `{"sequence": (B, T, width)}`, and
    `"pooled"` where it has a pooler; a causal decoder the hidden states (B, T, width); all others
    what KerasHub gives.

    Attributes:
        hub: the KerasHub object, with all that KerasHub's users know.
        preset: the handle that its weights came from, or `None`.
        vocab_size, max_length: of its text, or `None`.
        hidden_dims: (width,) of the last axis of the main output.
    """

    def __init__(self, hub: keras.Model, preset: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.hub, self.preset = hub, preset
        self.vocab_size = _first(hub, "vocabulary_size", "vocab_size", "text_vocab_size")
        self.max_length = _first(hub, "max_sequence_length", "max_position_embeddings")
        self.num_segments = 2 if "segment_ids" in input_tensors(hub) else 0
        self.hidden_dims = (named_outputs(hub)[0][1].shape[-1],)
        self.built = True

    def get_config(self):
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        hub = keras.saving.serialize_keras_object(self.hub)
        return {"hub": hub, "preset": self.preset, "name": self.name, "dtype": policy}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        hub = deserialize(config.pop("hub"), custom_objects)
        return cls(hub, **config)

    def call(self, inputs, training=None):
        outputs = self.hub(hub_inputs(self.hub, inputs), training=training)
        if isinstance(outputs, dict):
            return {_OUTPUTS.get(key, key): value for key, value in outputs.items()}
        if self._reads_both_ways():
            return {"sequence": outputs}
        return outputs

    def _reads_both_ways(self) -> bool:
        """Whether it is a text encoder: what KerasHub builds no generator on."""
        names = set(input_tensors(self.hub))
        text = "token_ids" in names and names <= {"token_ids", *_FILL}
        return text and not _has_generator(type(self.hub))


def input_tensors(hub: keras.Model) -> dict:
    """The symbolic inputs of a functional model by name; one without a name is `images`."""
    struct = hub.input
    if isinstance(struct, dict):
        return dict(struct)
    tensors = struct if isinstance(struct, list | tuple) else [struct]
    return {_name(tensor): tensor for tensor in tensors}


def hub_inputs(hub: keras.Model, inputs):
    """Inputs by name in the structure that the model was made with.

    Raises:
        DataError: one is missing, or has a name that the model does not know.
    """
    names = list(input_tensors(hub))
    if not isinstance(inputs, dict):
        given = inputs if isinstance(inputs, list | tuple) else [inputs]
        inputs = dict(zip(names, given, strict=False))
        if "token_ids" in names and len(given) == 1:
            inputs = {"token_ids": given[0]}
    unknown = [name for name in inputs if name not in names]
    if unknown:
        # All in one sentence: out of a layer's call Keras lets nothing else through.
        near = nearest(unknown[0], names)
        raise DataError(
            f"{type(hub).__name__} has no input {unknown[0]!r}"
            + (f", did you mean {near}?" if near else "")
            + f" Its inputs are {', '.join(names)}"
        )
    if "token_ids" in inputs:
        fill = {key: make for key, make in _FILL.items() if key in names and key not in inputs}
        inputs = {**inputs, **{key: make(inputs["token_ids"]) for key, make in fill.items()}}
    missing = [name for name in names if name not in inputs]
    if missing:
        raise DataError(
            f"{type(hub).__name__} needs the input {missing[0]!r}; all are {', '.join(names)}"
        )
    if isinstance(hub.input, dict):
        return {name: inputs[name] for name in names}
    ordered = [inputs[name] for name in names]
    return ordered if isinstance(hub.input, list | tuple) else ordered[0]


def named_outputs(hub: keras.Model) -> list[tuple[str, object]]:
    """The symbolic outputs of a functional model, flat, each with a name; the main one first."""
    return flat_outputs(hub.output)


def flat_outputs(outputs, name: str = "features") -> list[tuple[str, object]]:
    """Nested outputs as (name, tensor): `stage1`, `features`, `boxes_0` ..."""
    if isinstance(outputs, dict):
        found = [flat_outputs(value, str(key)) for key, value in outputs.items()]
        return [pair for pairs in found for pair in pairs]
    if isinstance(outputs, list | tuple):
        found = [flat_outputs(value, f"{name}_{i}") for i, value in enumerate(outputs)]
        return [pair for pairs in found for pair in pairs]
    return [] if outputs is None else [(name, outputs)]


def deserialize(config, custom_objects=None):
    """A KerasHub object of its config; KerasHub is imported first, which registers its classes."""
    from modelzoo_kerashub.construct import hub

    hub()
    return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)


def _name(tensor) -> str:
    made_up = tensor.name.startswith(("keras_tensor", "input"))
    if made_up or "pixel" in tensor.name:
        return "images" if len(tensor.shape) == 4 else tensor.name
    return tensor.name


def _first(hub: keras.Model, *names: str):
    """The first of these attributes that the backbone, its text or its language part has."""
    parts = (hub, *(getattr(hub, part, None) for part in ("text_encoder", "language_model")))
    for part in parts:
        for name in names:
            value = getattr(part, name, None)
            if isinstance(value, int):
                return value
    return None


def _has_generator(kind: type) -> bool:
    from modelzoo_kerashub.construct import hub

    models = vars(hub().models).values()
    generators = [one for one in models if isinstance(one, type)]
    generators = [one for one in generators if issubclass(one, hub().models.CausalLM)]
    return any(one.backbone_cls is kind for one in generators if one.backbone_cls)
