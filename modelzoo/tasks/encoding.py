"""What the tasks over encoders share: one vector for a text, and their device signatures."""

from __future__ import annotations

from keras import ops

from modelzoo.backbones.base import count_up
from modelzoo.layers.masks import HIDDEN
from modelzoo.signature import Signature, TensorSpec


def pool(outputs, padding_mask):
    """One vector a text, (B, width), of a backbone's outputs: what a classifier reads.

    BERT's pooler where there is one, else the first token of an encoder, else the last real token
    of a causal model.
    """
    if isinstance(outputs, dict):
        return outputs["pooled"] if "pooled" in outputs else outputs["sequence"][:, 0]
    return last_token(outputs, padding_mask)


def last_token(x, padding_mask):
    """(B, T, width) -> (B, width) at the last real token, whichever side is padded."""
    if padding_mask is None:
        return x[:, -1]
    places = ops.cast(padding_mask, "int32") * count_up(x)
    last = ops.expand_dims(ops.max(places, axis=1, keepdims=True), -1)
    return ops.squeeze(ops.take_along_axis(x, last, axis=1), 1)


def mean_token(x, padding_mask):
    """(B, T, width) -> (B, width), the mean over the real tokens."""
    if padding_mask is None:
        return ops.mean(x, axis=1)
    weights = ops.expand_dims(ops.cast(padding_mask, x.dtype), -1)
    return ops.sum(x * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1e-9)


def max_token(x, padding_mask):
    """(B, T, width) -> (B, width), the largest of each number over the real tokens."""
    if padding_mask is not None:
        real = ops.expand_dims(ops.cast(padding_mask, "bool"), -1)
        x = ops.where(real, x, ops.cast(HIDDEN, x.dtype))
    return ops.max(x, axis=1)


POOLINGS = {
    "mean": mean_token,
    "cls": lambda x, padding_mask: x[:, 0],
    "max": max_token,
    "last": last_token,
}


def embedding(outputs, padding_mask, pooling: str = "mean", normalize: bool = True):
    """One vector a text, (B, width) float32, of a backbone's outputs: what texts are compared by.

    Args:
        pooling: one of `POOLINGS` (Reimers & Gurevych 2019, section 3); padding counts in none.
        normalize: give the vectors length 1, so that their dot product is their cosine.
    """
    x = outputs["sequence"] if isinstance(outputs, dict) else outputs
    x = POOLINGS[pooling](ops.cast(x, "float32"), padding_mask)
    return unit(x) if normalize else x


def unit(x):
    """(…, width) of length 1; zeros stay zeros."""
    return x / ops.sqrt(ops.maximum(ops.sum(x * x, axis=-1, keepdims=True), 1e-24))


def text_signature(backbone, function, max_length: int | None) -> Signature:
    """A signature for one text of at most `max_length` tokens: the inputs that a backbone has."""
    longest = backbone.max_length or 128
    spec = TensorSpec((1, min(max_length or longest, longest)), "int32")
    inputs = {"token_ids": spec, "padding_mask": spec}
    if getattr(backbone, "num_segments", 0):
        inputs["segment_ids"] = spec
    return Signature(function, inputs)


def encoder_signatures(backbone, serve, max_length: int | None) -> dict[str, Signature]:
    """`serve`, and `embed` over the same weights, for one text of at most `max_length` tokens."""

    def embed(inputs):
        outputs = backbone(inputs, training=False)
        return {"embedding": embedding(outputs, inputs["padding_mask"])}

    return {
        name: text_signature(backbone, function, max_length)
        for name, function in (("serve", serve), ("embed", embed))
    }
