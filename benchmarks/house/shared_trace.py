"""Training with one trace for equal blocks, compared with a trace for each.

    python -m benchmarks.house.shared_trace

Small models of eight families train ten steps, once with the shared trace of
`modelzoo.layers.backend.shared_trace` and once without, on one device, on two replicas, with half
of the blocks frozen, with LoRA on dense layers, in bfloat16 and compiled with XLA. Each figure is
the largest difference: of the gradients' norms in the first step and of all weights after the last
step. It ends with 1 where a difference is larger than 1e-6, or 1e-2 in bfloat16. bfloat16 and XLA
move the figures without sharing too: each of the two that are compared by so much, so twice as much
is allowed where it is more.
"""

from __future__ import annotations

import contextlib
import os
import sys
from functools import cache

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import common
from benchmarks.common import write_result

SHAPE = {"num_layers": 4, "hidden_dim": 16, "num_heads": 2}
TEXT = {**SHAPE, "vocab_size": 600, "max_length": 24}
STILL = {"dropout": 0.0, "attention_dropout": 0.0}
TOWERS = {
    f"{tower}.model.{key}": value
    for tower in ("image", "text")
    for key, value in {**SHAPE, "dropout": 0.0}.items()
}
FAMILIES = {
    "gpt": ("gpt-tiny", {**TEXT, **STILL}),
    "llama": ("smollm2-135m", {**TEXT, "num_kv_heads": 1, "ffn_dim": 32}),
    "bert": ("bert-tiny-classifier", {**TEXT, **STILL, "task_options.dropout": 0.0}),
    "t5": ("t5-tiny", {**TEXT, "head_dim": 8, "ffn_dim": 32, "dropout": 0.0}),
    "bart": ("bart-base", {**TEXT, "ffn_dim": 32, **STILL}),
    "vit": ("vit-tiny", {**SHAPE, "dropout": 0.0}),
    "clip": (
        "clip-tiny",
        {
            "embed_dim": 8,
            "image.recipe": "vit-tiny",
            "image.pooling": "mean",
            "task_options.augment": None,
            "text.model.vocab_size": 600,
            "text.model.attention_dropout": 0.0,
            **TOWERS,
        },
    ),
    "whisper": ("whisper-nano", {**TEXT, "num_columns": 40, "dropout": 0.0}),
}
CONTEXTS = ("one device", "two replicas", "half frozen", "LoRA", "bfloat16", "XLA")
LIMITS = {"bfloat16": 1e-2, "XLA": 1e-6}  # where the context itself rounds otherwise
ROWS, STEPS, RATE = 4, 10, 0.05


def inputs(family: str, model) -> tuple:
    """x, y and sample weights of one batch, the same each time."""
    import numpy as np

    draw = np.random.default_rng(0)
    ids = draw.integers(5, 500, (ROWS, 12)).astype("int32")
    mask = np.ones((ROWS, 12), "int32")
    mask[::2, 8:] = 0
    text = {"token_ids": ids, "padding_mask": mask}
    images = draw.integers(0, 255, (ROWS, 28, 28, 3)).astype("uint8")
    if family == "bert":
        return text, np.arange(ROWS) % model.num_labels, None
    if family == "vit":
        return {"images": images}, np.arange(ROWS) % model.num_labels, None
    if family == "clip":
        number = np.arange(ROWS)
        return {"images": images, **text}, {"image": number, "text": number}, None
    if family in ("t5", "bart"):
        text = {**text, "decoder_token_ids": ids, "decoder_padding_mask": mask}
    if family == "whisper":
        samples = model.processing()["audio"]["num_samples"]
        text = {**text, "audio": draw.normal(0, 0.1, (ROWS, samples)).astype("float32")}
    return text, np.roll(ids, -1, 1), mask.astype("float32")


def trained(family: str, context: str) -> tuple[list, list]:
    """The norms of the first step's gradients, and the weights after the last step."""
    import keras

    import modelzoo

    name, changes = FAMILIES[family]
    keras.utils.set_random_seed(3)
    precision = "mixed_bfloat16" if context == "bfloat16" else "float32"
    keras.config.set_dtype_policy(precision)
    with replicas().scope() if context == "two replicas" else contextlib.nullcontext():
        model = modelzoo.build(name, compile=False, **changes)
        change(model, context)
        optimizer = noting()(RATE)
        model.compile(optimizer, *losses(model), jit_compile=context == "XLA")
    keras.config.set_dtype_policy("float32")
    x, y, weights = inputs(family, model)
    norms = []
    for _ in range(STEPS):
        model.fit(x, y, sample_weight=weights, batch_size=ROWS, verbose=0, shuffle=False)
        norms = norms or [keras.ops.convert_to_numpy(norm) for norm in optimizer.norms]
    values = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    return norms, [value.astype("float32") for value in values]


@cache
def replicas():
    """Two of them on this processor; TensorFlow wants one strategy a process."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@cache
def noting():
    """An SGD that keeps the norm of each gradient in `norms`."""
    import keras
    from keras import ops

    class Noting(keras.optimizers.SGD):
        def build(self, variables):
            super().build(variables)
            self.norms = [self.add_variable((), name=f"norm_{i}") for i in range(len(variables))]

        def update_step(self, gradient, variable, learning_rate):
            norm = self.norms[self._get_variable_index(variable)]
            self.assign(norm, ops.cast(ops.norm(ops.reshape(gradient, (-1,))), norm.dtype))
            super().update_step(gradient, variable, learning_rate)

    return Noting


def losses(model) -> tuple:
    from modelzoo.registry import task_of

    loss, metrics = task_of(model.recipe).losses()
    return loss, None, None, metrics


def change(model, context: str) -> None:
    """Freeze every other block, or give two dense layers of each an addition of low rank."""
    import numpy as np

    from modelzoo.layers.block import TransformerBlock

    blocks = [one for one in model._flatten_layers() if isinstance(one, TransformerBlock)]
    if context == "half frozen":
        for block in blocks[::2]:
            block.trainable = False
    if context == "LoRA":
        draw = np.random.default_rng(1)
        for block in blocks[1:]:
            for dense in (block.attention.query, block.ffn.up):
                dense.enable_lora(rank=2)
                dense.lora_kernel_b.assign(draw.normal(0, 0.1, dense.lora_kernel_b.shape))


def compare(family: str, context: str) -> dict:
    """A row of the table."""
    import keras

    from modelzoo.layers import stack

    with_one = trained(family, context)
    shared = stack.shared_trace
    stack.shared_trace = lambda: keras.layers.Layer.__call__
    try:
        alone = trained(family, context)
        plain = trained(family, "one device") if context in LIMITS else alone
    finally:
        stack.shared_trace = shared
    row = differences(with_one, alone)
    if context in LIMITS:
        row["without sharing, from one device"] = max(differences(alone, plain).values())
    return {
        "family": family,
        "context": context,
        **row,
        "weights without a gradient": sum(float(norm) == 0 for norm in with_one[0]),
        "the same without sharing": sum(float(norm) == 0 for norm in alone[0]),
    }


def differences(one: tuple[list, list], other: tuple[list, list]) -> dict[str, float]:
    """The largest of the gradients' norms and of the weights, each relative.

    A norm's difference is relative to that norm, or to a hundredth of the largest where it is
    smaller: what cancels out to almost nothing has no exact digits. A weight's is relative to the
    largest value of its tensor, at least 1.
    """
    import numpy as np

    least = max(other[0]) / 100
    norms = [abs(a - b) / max(b, least) for a, b in zip(one[0], other[0], strict=True)]
    weights = [
        np.abs(a - b).max() / max(1.0, np.abs(b).max())
        for a, b in zip(one[1], other[1], strict=True)
    ]
    return {
        "gradient norms, largest difference": float(max(norms)),
        "weights after 10 steps, largest difference": float(max(weights)),
    }


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--only", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    args = parser.parse_args()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    rows, bad = [], False
    for family in args.only:
        for context in CONTEXTS:
            row = compare(family, context)
            own = row.get("without sharing, from one device", 0)
            allowed = max(LIMITS.get(context, 1e-6), 2 * own)
            worst = max(value for key, value in row.items() if key.endswith("difference"))
            same = row["weights without a gradient"] == row["the same without sharing"]
            bad = bad or not worst <= allowed or not same
            print(f"{family:8} {context:13} {worst:.1e}", flush=True)
            rows.append(row)
    write_result("shared_trace", {"ten steps": rows}, folder=args.results)
    print("larger than allowed" if bad else "all equal")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
