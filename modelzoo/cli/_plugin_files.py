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
requires-python = ">=3.11"
dependencies = ["modelzoo>=$minimum,<1"]

[project.optional-dependencies]
test = ["modelzoo[tensorflow]", "pytest"]

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
    refused before Keras is imported. Any `keras.Model` may be returned; a decoder out of
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
parameters   = $parameters          # asserted by tests/test_llama.py
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

TEST = '''\
"""The recipe fits the architecture, and the model is the size that the recipe states."""

from __future__ import annotations

import numpy as np
import pytest

import modelzoo
from modelzoo.errors import RecipeError
from modelzoo.recipe import validate_against
from modelzoo.registry import architecture


def small_model():
    recipe = modelzoo.read_recipe("$namespace/llama-tiny")
    build = architecture(recipe.architecture)
    return recipe, build(**validate_against(recipe, build))


def test_the_recipe_is_listed_with_its_plugin():
    entry = next(entry for entry in modelzoo.names() if entry.name == "$namespace/llama-tiny")
    assert entry.problem is None
    assert entry.plugin.startswith("$distribution ")


def test_the_model_has_the_stated_number_of_parameters():
    recipe, model = small_model()
    assert model.count_params() == recipe.parameters


def test_each_token_becomes_a_vector_of_the_hidden_width():
    _, model = small_model()
    tokens = np.arange(12, dtype="int32").reshape(2, 6)
    output = model({"token_ids": tokens, "padding_mask": np.ones((2, 6), bool)})
    assert tuple(output.shape) == (2, 6, 128)
    assert np.isfinite(np.asarray(output)).all()


def test_a_typo_in_the_recipe_is_refused_with_the_right_name():
    recipe = modelzoo.read_recipe("$namespace/llama-tiny", {"num_layer": 4})
    with pytest.raises(RecipeError, match="num_layers"):
        validate_against(recipe, architecture(recipe.architecture))
'''

README = """\
# $distribution

Models for [modelzoo](https://pypi.org/project/modelzoo/), listed as `$namespace/...`.

```sh
pip install -e ".[test]"
modelzoo list                          # $namespace/llama-tiny is in it
modelzoo plugins --check               # everything imports
modelzoo build $namespace/llama-tiny -o llama-tiny
pytest
```

| File | What it is |
|---|---|
| `pyproject.toml` | the entry points: what it claims, and what it brings |
| `$package/llama.py` | the architecture: one function that returns a Keras model |
| `$package/recipes/llama-tiny.toml` | a recipe: the values of one model. Add a file, and it lists |
| `tests/test_llama.py` | the recipe fits, the model has the stated size |

A second architecture is one more function and one more line under
`[project.entry-points."modelzoo.architectures"]`; install again, so that pip reads the new line.
Bare names are modelzoo's own: write `$namespace/llama`, also in your recipes.
"""
