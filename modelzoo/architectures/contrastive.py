"""Contrastive fusion: towers of other architectures, trained into one space."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    image: dict | None = None,
    text: dict | None = None,
    audio: dict | None = None,
    depth: dict | None = None,
    thermal: dict | None = None,
    imu: dict | None = None,
    embed_dim: int = 512,
    scale: Literal["shared", "asking", "product"] = "shared",
    initial_scale: float = math.log(1 / 0.07),
    initial_bias: float | None = None,
) -> keras.Model:
    """Build a contrastive model over two towers or more.

    CLIP (Radford et al. 2021) has an image and a text tower with bias-free projections, SigLIP
    (Zhai et al. 2023) a bias in the logits, CLAP (Wu et al. 2023) an audio tower and two-layer
    projections, ImageBind (Girdhar et al. 2023) six towers.

    Args:
        image, text, audio, depth, thermal, imu: parts, each with `recipe = "vit-tiny"` or the like,
            and perhaps
            - `pooling`: `"pooled"`, the tower's own; `"cls"`, `"mean"`, `"max"` or `"last"` of its
              sequence (of a causal text tower: the end token), or `"flatten"`, all of it;
            - `projection`: `"linear"`, `"mlp"` (two layers, ReLU) or `"none"`; `projection_bias`;
            - `padding`: `"visible"` where a text tower reads padding as any other token (SigLIP);
            - `scale`: `"learned"`, or a fixed factor, where scales are not shared;
            - `frozen`, `weights`.
        embed_dim: width of the space.
        scale: of the cosines: one for all; `"asking"`, that of the tower that looks for the other
            (CLAP); or the `"product"` of both towers' (ImageBind).
        initial_scale: the logarithm of a learned scale at the beginning. It stays within 0 and
            ln 100, unless there is a bias.
        initial_bias: of the logits at the beginning; none where it is not given.

    Returns: a `Contrastive`. Inputs `images` (B, H, W, 3), `token_ids` and `padding_mask` (B, T),
    `audio` (B, N), those of some towers at least; outputs `image`, `text`, `audio` (B, embed_dim).

    Example:
        >>> model = {"num_layers": 1, "hidden_dim": 64, "num_heads": 2}
        >>> text = {"architecture": "bert", "model": model, "pooling": "mean"}
        >>> build(image=text, text=text, embed_dim=32).count_params()
        4085249
    """
    from modelzoo.architectures.parts import build_part, own_options
    from modelzoo.backbones.contrastive import TOWER, Contrastive

    tables = {"image": image, "text": text, "audio": audio}
    tables |= {"depth": depth, "thermal": thermal, "imu": imu}
    tables = {kind: table for kind, table in tables.items() if table is not None}
    allowed = {key: value for key, value in TOWER.items() if key != "frozen"}
    options = {
        kind: {**own_options(kind, table, allowed), "frozen": table.get("frozen", False)}
        for kind, table in tables.items()
    }
    return Contrastive(
        {kind: build_part(kind, table) for kind, table in tables.items()},
        options,
        embed_dim,
        scale,
        initial_scale,
        initial_bias,
    )
