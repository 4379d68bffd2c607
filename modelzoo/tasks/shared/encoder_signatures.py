"""What the tasks over encoders share: one vector for a text, and their device signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keras import ops

from modelzoo.errors import ExportError
from modelzoo.layers.pooling import POOLINGS, last_token, unit
from modelzoo.signature import Signature, Tensor, TensorSpec


def pool(outputs, padding_mask) -> Tensor:
    """One vector a text, (B, width), of a backbone's outputs: what a classifier reads.

    BERT's pooler where there is one, else the first token of an encoder, else the last real token
    of a causal model.
    """
    if isinstance(outputs, dict):
        return outputs["pooled"] if "pooled" in outputs else outputs["sequence"][:, 0]
    return last_token(outputs, padding_mask)


def embedding(outputs, padding_mask, pooling: str = "mean", normalize: bool = True) -> Tensor:
    """One vector a text, (B, width) float32, of a backbone's outputs: what texts are compared by.

    Args:
        pooling: one of `POOLINGS` (Reimers & Gurevych 2019, section 3); padding counts in none.
        normalize: give the vectors length 1, so that their dot product is their cosine.
    """
    x = POOLINGS[pooling](ops.cast(sequence_of(outputs), "float32"), padding_mask)
    return unit(x) if normalize else x


def sequence_of(outputs) -> Tensor:
    """A vector for each token, (B, T, width), of a backbone's outputs."""
    return outputs["sequence"] if isinstance(outputs, dict) else outputs


def encoder_signatures(
    backbone,
    functions: Mapping[str, Callable],
    max_length: int | None = None,
    lengths: Sequence[int] | None = None,
    batch_sizes: Sequence[int] = (1,),
) -> dict[str, Signature]:
    """Each function in several static sizes, over the same weights.

    `serve` takes one text of at most `max_length` tokens, `serve_32` one of 32, `serve_32x8` eight
    of 32 and `serve_128x8` eight of the longest, if that is 128.

    Args:
        functions: name -> a function of the backbone's inputs, each (B, T).
        max_length: tokens of the longest; `None` for all that the backbone reads, or 128.
        lengths: the shorter ones; `None` for 32, 128, 512 … as far as they are shorter.
        batch_sizes: texts in a call, besides one alone.

    Raises:
        ExportError: a size below 1, or a length above the longest.
    """
    longest = backbone.max_length or 128
    longest = min(max_length or longest, longest)
    if lengths is None:
        lengths = [32 * 4**n for n in range(longest.bit_length()) if 32 * 4**n < longest]
    for option, values in (("lengths", lengths), ("batch_sizes", batch_sizes)):
        for value in values:
            if value < 1:
                raise ExportError(f"export.{option} must be 1 or more, not {value}")
    if max(lengths, default=0) > longest:
        raise ExportError(
            f"export.lengths has {max(lengths)}, and the longest text has {longest} tokens",
            next_step=f"take {longest} or less, or a longer export.max_length",
        )
    signatures = {}
    for name, function in functions.items():
        for length in (longest, *sorted({*lengths} - {longest})):
            for rows in sorted({1, *batch_sizes}):
                suffix = f"_{length}" if length < longest or rows > 1 else ""
                suffix += f"x{rows}" if rows > 1 else ""
                spec = TensorSpec((rows, length), "int32")
                inputs = {"token_ids": spec, "padding_mask": spec}
                if getattr(backbone, "num_segments", 0) > 1:  # one alone (RoBERTa): no choice
                    inputs["segment_ids"] = spec
                signatures[name + suffix] = Signature(function, inputs)
    return signatures


def mean_embedding(backbone) -> Callable:
    """The function of `embed` for a model with another head: the mean of the tokens' vectors."""

    def embed(inputs):
        outputs = backbone(inputs, training=False)
        return {"embedding": embedding(outputs, inputs["padding_mask"])}

    return embed
