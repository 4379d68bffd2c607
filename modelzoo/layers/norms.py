"""Normalisation of the residual stream."""

from __future__ import annotations

import keras

from modelzoo.layers.config import TransformerConfig


def make_norm(config: TransformerConfig, **kwargs) -> keras.layers.Layer:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019) over the last axis.

    Both compute in float32 under mixed precision and return the compute dtype.
    """
    kinds = {"layer": keras.layers.LayerNormalization, "rms": keras.layers.RMSNormalization}
    return kinds[config.norm](epsilon=config.norm_epsilon, **kwargs)
