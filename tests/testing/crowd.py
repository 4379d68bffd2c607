"""Small plugins, each of which breaks one rule, all installed into one site directory."""

from __future__ import annotations

from collections.abc import Mapping

from tests.plugin_site import Site

# A functional model over `mixed(x, m, x_shape)`: x (B, T, 8), m (B, T, 1) of ones and zeros.
_NET = '''
"""A plugin's code."""


def build(*, width: int = 8) -> "keras.Model":
    """Build a small net.

    Returns: inputs `token_ids` and `padding_mask` (batch, time); output (batch, time, width).
    """
    import keras
    from keras import ops

    from {package}.layers import Mix

    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding_mask = keras.Input((None,), dtype="bool", name="padding_mask")
    x = keras.layers.Embedding(9, width{embedding})(token_ids)
    x = Mix({arguments})(x, padding_mask)
    x = keras.layers.Dense(width{dense})(x)
    {end}
    return keras.Model({{"token_ids": token_ids, "padding_mask": padding_mask}}, x)
'''

_MIX = """
import keras
from keras import ops


@keras.saving.register_keras_serializable("{package}")
class Mix(keras.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, *shapes):
        {build}

    def get_config(self):
        return {{**super().get_config(), {config}}}

    def call(self, x, mask):
        m = ops.expand_dims(ops.cast(mask, x.dtype), -1)
        return {mixed}
"""

# A decoder of the core's, with a class of its own over it.
_DECODER = '''
"""A plugin's code."""


def build(*, vocab_size: int = 300, max_length: int = 32) -> "keras.Model":
    """Build a small decoder.

    Returns: inputs `token_ids` and `padding_mask` (batch, time); output (batch, time, 16).
    """
    from modelzoo.architectures import gpt

    model = gpt.build(
        vocab_size=vocab_size, num_layers=1, hidden_dim=16, num_heads=2, max_length=max_length,
        dropout=0.0, attention_dropout=0.0,
    )
    from {package}.layers import Changed

    model.__class__ = Changed
    return model
'''

_CHANGED = """
import keras
from keras import ops

from modelzoo.backbones.decoder import Decoder


@keras.saving.register_keras_serializable("{package}")
class Changed(Decoder):
{body}
"""

RECIPE = """\
summary = "A small one"
architecture = "{namespace}/net"
{more}reference = "Nobody 2026, A Net"
"""

GOOD = "x + ops.sum(x * m, 1, keepdims=True) / ops.maximum(ops.sum(m, 1, keepdims=True), 1)"


def net(site: Site, namespace: str, **changes: str) -> None:
    """A plugin with a functional model. `changes` are parts of the templates above."""
    package = package_of(namespace)
    parts = {
        "package": package,
        "embedding": "",
        "dense": "",
        "end": "",
        "arguments": "factor=3.0",
        "build": "pass",
        "config": '"factor": self.factor',
        "mixed": GOOD + " * self.factor",
        **changes,
    }
    files = {"net.py": _NET.format(**parts), "layers.py": _MIX.format(**parts)}
    install(site, namespace, files)


def decoder(site: Site, namespace: str, body: str, more: str = "", train: str = "") -> None:
    """A plugin with a causal language model."""
    parts = {"package": package_of(namespace), "body": body}
    files = {"net.py": _DECODER.format(**parts), "layers.py": _CHANGED.format(**parts)}
    recipe = RECIPE.format(namespace=namespace, more='task = "causal-lm"\n' + more)
    recipe += '[tokenizer]\nkind = "byte"\n[train]\nweight_decay = 0.0\nlearning_rate = 1e-2\n'
    install(site, namespace, files, {"tiny": recipe + train})


def install(
    site: Site,
    namespace: str,
    files: Mapping[str, str],
    recipes: Mapping[str, str] | None = None,
    groups: Mapping[str, Mapping[str, str]] | None = None,
    requires: tuple[str, ...] = (),
) -> None:
    """A distribution that claims `namespace`, as pip leaves it behind."""
    package = package_of(namespace)
    if recipes is None:
        recipes = {"tiny": RECIPE.format(namespace=namespace, more="")}
    content = {f"{package}/{name}": text for name, text in files.items()}
    # Its classes are known as soon as Keras is there, also to a process that opens a file of it.
    init = f"from modelzoo.keras_registration import install\n\ninstall('{package}.layers')\n"
    content[f"{package}/__init__.py"] = init if "layers.py" in files else ""
    content |= {f"{package}/recipes/{name}.toml": text for name, text in recipes.items()}
    entry_points = {
        "modelzoo.plugins": {namespace: package},
        "modelzoo.architectures": {"net": f"{package}.net:build"},
        **(groups or {}),
    }
    site.add(f"modelzoo-{namespace}", entry_points=entry_points, files=content, requires=requires)


def package_of(namespace: str) -> str:
    return "modelzoo_" + namespace.replace("-", "_")
