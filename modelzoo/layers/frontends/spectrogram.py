"""A log-mel spectrogram inside the graph, of operations that every device has.

B batch, N samples, T columns, L samples of a frame, F frequencies, M bands.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from modelzoo.errors import DataError
from modelzoo.layers.frontends.mel import MelConfig, mel_filters, transform
from modelzoo.signature import Tensor


class LogMelSpectrogram(keras.layers.Layer):
    """Sound as the logarithm of its power in mel bands; see `MelConfig` for the kinds.

    A frame is folded about its middle, so that the transform is two products of half its length:
    half the work, and in float32 within 1e-4 of what float64 gives, above all for the quiet bands
    beside loud ones. Quantization leaves its constants alone.

    Call arguments:
        audio: (B, N) in [-1, 1]; N is known when a graph is made.
        num_samples: (B,) int32, real samples of each; columns that are not wholly real are zero
            before they are normalised, as the feature extractor of AST pads. Default: all are.

    Returns: (B, T, M) float32; T is `config.num_columns(N)`.

    Raises:
        DataError: fewer samples than one column takes.

    Example:
        >>> tuple(LogMelSpectrogram(MelConfig())(np.zeros((1, 16_000), "float32")).shape)
        (1, 98, 80)
    """

    keep_float32 = True  # 8 bits would drown what is 40 dB below the loudest

    def __init__(self, config: MelConfig, **kwargs):
        kwargs["dtype"] = "float32"  # a power has a range that no half precision holds
        super().__init__(autocast=False, trainable=False, **kwargs)
        self.config = config
        cosines, sines = transform(config)
        # What a constant 1 gives: the mean goes its own way, past the roundings of the sums.
        level = (0.0 if config.remove_mean else 2 - 2 * config.preemphasis) * cosines.sum(axis=0)
        self._constants = [
            np.asarray(matrix, "float32") for matrix in (cosines, sines, level, mel_filters(config))
        ]
        self.build()  # it has no weights to wait for

    def build(self, input_shape=None) -> None:
        self.built = True

    def call(self, audio, num_samples=None) -> Tensor:
        config = self.config
        columns = config.num_columns(audio.shape[1])
        if columns < 1 or (config.centred and audio.shape[1] <= config.frame_length // 2):
            raise DataError(
                f"{audio.shape[1]} samples are too few for a spectrogram",
                next_step=f"give {config.frame_length} or more",
            )
        cosines, sines, level, filters = self._constants
        frames = self._frames(ops.cast(audio, "float32"), columns)  # (B, T, L)
        mean = ops.mean(frames, axis=2, keepdims=True)
        frames = self._emphasised(frames - mean)
        # === Power: |X|^2, from the halves before and after the middle ===
        half, skip = config.frame_length // 2, int(config.window == "periodic")
        first, second = frames[:, :, skip : half + skip], ops.flip(frames[:, :, half:], axis=2)
        real = ops.matmul(first + second, cosines)  # (B, T, F)
        imaginary = ops.matmul(first - second, sines)
        if not config.remove_mean:
            real = real + mean * level
        power = ops.square(real) + ops.square(imaginary)
        mel = self._log(ops.maximum(ops.matmul(power, filters), config.floor))  # (B, T, M)
        if config.range_below_max is not None:
            loudest = ops.max(mel, axis=(1, 2), keepdims=True)
            mel = ops.maximum(mel, loudest - config.range_below_max)
        if num_samples is not None:
            mel = mel * self._real(num_samples, columns)
        return (mel - config.mean) / config.deviation

    def _frames(self, audio, columns):
        """(B, N) -> (B, T, L): neighbouring blocks of a hop, side by side."""
        config = self.config
        if config.centred:
            margin = config.frame_length // 2
            audio = ops.pad(audio, ((0, 0), (margin, margin)), mode="reflect")
        blocks = -(-config.frame_length // config.hop)
        needed = (columns + blocks - 1) * config.hop
        if audio.shape[1] < needed:
            audio = ops.pad(audio, ((0, 0), (0, needed - audio.shape[1])))
        rows = ops.reshape(audio[:, :needed], (-1, columns + blocks - 1, config.hop))
        parts = [rows[:, i : i + columns] for i in range(blocks)]
        rest = config.frame_length - (blocks - 1) * config.hop
        return ops.concatenate([*parts[:-1], parts[-1][:, :, :rest]], axis=2)

    def _emphasised(self, frames):
        """High tones lifted; the first sample has none before it, and is its own."""
        if not self.config.preemphasis:
            return frames
        before = ops.concatenate([frames[:, :, :1], frames[:, :, :-1]], axis=2)
        # As a difference and a rest, which loses nothing where neighbours are alike.
        return (frames - before) + (1 - self.config.preemphasis) * before

    def _log(self, power):
        factor = {"log": 1.0, "log10": 1 / math.log(10), "decibel": 10 / math.log(10)}
        return ops.log(power) * factor[self.config.log]

    def _real(self, num_samples, columns):
        """1 for columns of real samples alone, else 0: (B, T, 1) float32."""
        config = self.config
        samples = ops.cast(ops.reshape(num_samples, (-1, 1, 1)), "float32")
        starts = np.arange(columns, dtype="float32").reshape(1, columns, 1) * config.hop
        ends = starts + (0 if config.centred else config.frame_length)
        return ops.cast(ends <= samples, "float32")
