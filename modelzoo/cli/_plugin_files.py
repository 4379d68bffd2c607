"""The files of a new plugin, as templates: $namespace, $package and $distribution are filled in."""

from __future__ import annotations

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "Models for modelzoo, as $namespace/..."
readme = "README.md"
# license = "Apache-2.0"  # yours, with its text in a file LICENSE; pip and the hub show it
requires-python = ">=3.11"
dependencies = ["$modelzoo>=$minimum,<1"]

[project.optional-dependencies]
test = ["hatchling", "$modelzoo[tensorflow]", "pytest"]

# [project.urls]
# Source = "where its code is"

# These two tables are the whole contract: no base class, no decorator, nothing to call.
[project.entry-points."modelzoo.plugins"]
$namespace = "$package"

[project.entry-points."modelzoo.architectures"]
llama = "$package.llama:build"

[tool.hatch.build.targets.wheel]
packages = ["$package"]
"""

INIT = '''\
"""Models for modelzoo, under the namespace $namespace."""
'''

ARCHITECTURE = '''\
"""A Llama-style decoder: rotary positions, RMSNorm, gated SiLU, no biases, grouped queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the signature is read without Keras: import it inside `build`
    import keras


def build(
    *,
    vocab_size: int = 4_000,
    num_layers: int = 2,
    hidden_dim: int = 128,
    num_heads: int = 4,
    num_kv_heads: int = 2,
    ffn_dim: int = 352,
    max_length: int = 256,
    rotary_theta: float = 10_000.0,
    dropout: float = 0.0,
) -> keras.Model:
    """Build a small decoder (Touvron et al. 2023, LLaMA; Ainslie et al. 2023, GQA).

    The keyword arguments are the schema of a recipe's table `[model]`: a wrong name or type is
    rejected before Keras is imported. Any `keras.Model` may be returned; a decoder out of
    modelzoo's own parts generates, and exports with a key/value cache, without more code.

    Returns: a decoder. Inputs `token_ids` and `padding_mask` (batch, time); output
        (batch, time, hidden_dim).
    """
    from modelzoo.architectures import gpt

    return gpt.build(
        vocab_size=vocab_size,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        ffn_dim=ffn_dim,
        max_length=max_length,
        positions="rotary",
        rotary_theta=rotary_theta,
        norm="rms",
        activation="silu",
        gated=True,
        attention_bias=False,
        ffn_bias=False,
        dropout=dropout,
        attention_dropout=dropout,
    )
'''

RECIPE = """\
# modelzoo build $namespace/llama-tiny
summary      = "Llama-style decoder, small enough to train on a laptop"
architecture = "$namespace/llama"
task         = "causal-lm"
parameters   = $parameters          # asserted by tests/test_plugin.py
reference    = "Touvron et al. 2023, LLaMA: Open and Efficient Foundation Language Models"

[model]
vocab_size   = 4_000
num_layers   = 2
hidden_dim   = 128
num_heads    = 4
num_kv_heads = 2
ffn_dim      = 352                # about 8/3 of hidden_dim, as in LLaMA
max_length   = 256

[tokenizer]
kind = "bpe"

[train]
optimizer     = "adamw"
learning_rate = 1e-3
"""

LARGER = """\
# modelzoo build $namespace/llama-small
extends    = "$namespace/llama-tiny"     # tables merge; what stands here wins
summary    = "Llama-style decoder, twice as deep and twice as wide as llama-tiny"
parameters = $larger          # asserted by tests/test_plugin.py

[model]
num_layers = 4
hidden_dim = 256
ffn_dim    = 704

[train]
learning_rate = 6e-4
"""

TEST = '''\
"""What every plugin of modelzoo is held to, and what is this one's own."""

from __future__ import annotations

import pytest

import modelzoo
from modelzoo.errors import RecipeError
from modelzoo.testing import plugin_checks


@pytest.mark.parametrize("check", plugin_checks("$namespace"), ids=str)
def test_plugin(check):
    check()


def test_both_recipes_are_listed_with_their_plugin():
    entries = [e for e in modelzoo.names() if e.name.startswith("$namespace/")]
    assert [entry.name for entry in entries] == ["$namespace/llama-small", "$namespace/llama-tiny"]
    assert all(entry.plugin.startswith("$distribution ") for entry in entries)


def test_the_larger_model_differs_in_its_size_only():
    tiny = modelzoo.read_recipe("$namespace/llama-tiny").table("model")
    small = modelzoo.read_recipe("$namespace/llama-small").table("model")
    assert {key for key in small if small[key] != tiny[key]} == {
        "num_layers",
        "hidden_dim",
        "ffn_dim",
    }


def test_a_typo_is_refused_with_the_right_name():
    with pytest.raises(RecipeError, match="num_layers"):
        modelzoo.build("$namespace/llama-tiny", num_layer=4)
'''

CI = """\
name: tests
on: [push, pull_request]

jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      fail-fast: false
      matrix:
        python: ["3.11", "3.13"]
        backend: ["tensorflow", "jax"]
    env:
      KERAS_BACKEND: $${{ matrix.backend }}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: $${{ matrix.python }}
          cache: pip
      - run: pip install build && python -m build --wheel
      # From the wheel, not from the checkout: what users get is what is tested.
      - run: pip install "$$(ls dist/*.whl)[test]" $${{ matrix.backend == 'jax' && 'jax' || '' }}
      - run: modelzoo plugins --check
      - run: pytest
"""

GITIGNORE = """\
__pycache__/
.pytest_cache/
build/
dist/
*.egg-info/
.venv/
"""

README = """\
# $distribution

Models for [modelzoo](https://pypi.org/project/$modelzoo/), listed as `$namespace/...`.

```sh
pip install -e ".[test]"
modelzoo list                          # $namespace/llama-tiny and $namespace/llama-small
modelzoo plugins --check --time        # everything imports, and how long that takes
pytest                                 # what a plugin is held to, and what is its own
modelzoo train $namespace/llama-tiny --data demo:python-docs -o llama-tiny --set train.steps=100
modelzoo export llama-tiny -o llama-tiny.bundle --format tflite
modelzoo run llama-tiny.bundle "The function returns"
```

| File | What it is |
|---|---|
| `pyproject.toml` | the entry points: what it claims, and what it brings |
| `$package/llama.py` | the architecture: one function that returns a Keras model |
| `$package/recipes/*.toml` | the recipes: the values of one model each. Add a file, and it lists |
| `tests/test_plugin.py` | modelzoo's checks of a plugin, in three lines, and your own |
| `.github/workflows/ci.yml` | the same from the built wheel, on two backends |

A second architecture is one more function and one more line under
`[project.entry-points."modelzoo.architectures"]`; install again, so that pip reads the new line.
Bare names are modelzoo's own: write `$namespace/llama`, also in your recipes. Tasks, exporters and
weight tables are added in the same way: see docs/plugins.md of modelzoo.
"""
