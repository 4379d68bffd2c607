"""The Keras class of this plugin."""

import math

import keras
from keras import ops

from modelzoo.backbones.base import Backbone

# Of each stage: blocks, kernel, stride, expansion, channels (Tan and Le 2019, table 1).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280


def channels(count: int, width: float) -> int:
    """A multiple of 8 near `count * width`, and not below nine tenths of it."""
    wanted = count * width
    found = max(8, int(wanted + 4) // 8 * 8)
    return found + 8 if found < 0.9 * wanted else found


def blocks(width: float, depth: float) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, expansion and channels of each block."""
    found = []
    for number, (count, kernel, stride, expansion, units) in enumerate(STAGES):
        if number not in (0, len(STAGES) - 1):
            count = math.ceil(count * depth)
        for i in range(count):
            found.append((kernel, stride if i == 0 else 1, expansion, channels(units, width)))
    return found


@keras.saving.register_keras_serializable("modelzoo_lite")
class EfficientNetLite(Backbone):
    """Call: `{"images": (B, H, W, 3)}`, or them alone, 0 to 255 -> `sequence` and `pooled`."""

    def __init__(self, image_size, width, depth, norm_momentum, norm_epsilon, **kwargs):
        super().__init__(**kwargs)
        self._remember(locals())
        self.hidden_dim, self.max_length = HEAD, None
        self.processing = {
            "image": {
                "size": [image_size, image_size],
                "resize": "crop",
                "resize_to": image_size + 32,
                "interpolation": "bicubic",
            }
        }
        self.norm_options = {"momentum": norm_momentum, "epsilon": norm_epsilon}
        self.scaling = keras.layers.Rescaling(1 / 128, -127 / 128, dtype=self.dtype_policy)

        self.steps = []  # (convolution, norm, whether an activation follows)
        self.residuals = []  # of each block: where it begins and ends, whether its input is added
        self._add("stem", STEM, 3, 2)
        before = STEM
        for i, (kernel, stride, expansion, units) in enumerate(blocks(width, depth)):
            start = len(self.steps)
            if expansion > 1:
                self._add(f"block_{i}_expand", before * expansion, 1)
            self._add(f"block_{i}_depthwise", None, kernel, stride)
            self._add(f"block_{i}_project", units, 1, active=False)
            self.residuals.append((start, len(self.steps), stride == 1 and before == units))
            before = units
        self._add("head", HEAD, 1)
        self.build()

    def _add(self, name, units, kernel, stride=1, active=True):
        options = {"strides": stride, "padding": "same", "use_bias": False}
        options |= {"dtype": self.dtype_policy, "name": name}
        if units is None:
            layer = keras.layers.DepthwiseConv2D(kernel, **options)
        else:
            layer = keras.layers.Conv2D(units, kernel, **options)
        norm = keras.layers.BatchNormalization(
            **self.norm_options, dtype=self.dtype_policy, name=f"{name}_norm"
        )
        self.steps.append((layer, norm, active))

    def build(self, input_shape=None):
        width = 3
        for layer, norm, _ in self.steps:
            layer.build((None, None, None, width))
            width = getattr(layer, "filters", width) or width
            norm.build((None, None, None, width))
        self.built = True

    def call(self, inputs, training=None):
        images = inputs["images"] if isinstance(inputs, dict) else inputs
        x = self._run(self.scaling(images), 0, 1, training)
        for start, end, added in self.residuals:
            found = self._run(x, start, end, training)
            x = x + found if added else found
        x = self._run(x, len(self.steps) - 1, len(self.steps), training)
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2], HEAD))
        return {"sequence": x, "pooled": ops.mean(x, axis=1)}

    def _run(self, x, start, end, training):
        for layer, norm, active in self.steps[start:end]:
            x = norm(layer(x), training=training)
            x = ops.relu6(x) if active else x
        return x
