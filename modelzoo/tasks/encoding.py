"""What the tasks over encoders share: one vector for a text, and their device signatures."""

from __future__ import annotations

from keras import ops

from modelzoo.signature import Signature, TensorSpec


def pool(outputs, padding_mask):
    """One vector a text, (B, width), of a backbone's outputs.

    BERT's pooler where there is one, else the first token of an encoder, else the last real token
    of a causal model.
    """
    if isinstance(outputs, dict):
        return outputs["pooled"] if "pooled" in outputs else outputs["sequence"][:, 0]
    if padding_mask is None:
        return outputs[:, -1]
    length = outputs.shape[1] if outputs.shape[1] is not None else ops.shape(outputs)[1]
    places = ops.cast(padding_mask, "int32") * ops.arange(length, dtype="int32")
    last = ops.expand_dims(ops.max(places, axis=1, keepdims=True), -1)  # padded on either side
    return ops.squeeze(ops.take_along_axis(outputs, last, axis=1), 1)


def mean_embedding(outputs, padding_mask):
    """The mean of the real tokens' vectors, of length 1: (B, width) float32."""
    x = outputs["sequence"] if isinstance(outputs, dict) else outputs
    weights = ops.expand_dims(ops.cast(padding_mask, "float32"), -1)
    x = ops.sum(ops.cast(x, "float32") * weights, axis=1)
    return x / ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True) + 1e-12)


def encoder_signatures(backbone, serve, max_length: int | None) -> dict[str, Signature]:
    """`serve`, and `embed` over the same weights, for one text of at most `max_length` tokens."""
    longest = backbone.max_length or 128
    spec = TensorSpec((1, min(max_length or longest, longest)), "int32")
    inputs = {"token_ids": spec, "padding_mask": spec}
    if getattr(backbone, "num_segments", 0):
        inputs["segment_ids"] = spec

    def embed(inputs):
        outputs = backbone(inputs, training=False)
        return {"embedding": mean_embedding(outputs, inputs["padding_mask"])}

    return {"serve": Signature(serve, inputs), "embed": Signature(embed, inputs)}
