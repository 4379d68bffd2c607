"""The README.md of a model directory: what it is, and how to go on."""

from __future__ import annotations

from modelzoo.about import VERSION


def model_card(model, name: str) -> str:
    """Markdown for a model with a recipe, in a directory called `name`."""
    recipe = model.recipe
    rows = {
        "recipe": f"`{recipe.name}`",
        "architecture": f"`{recipe.architecture}`",
        "task": f"`{recipe.task}`",
        "parameters": f"{model.count_params():,}",
        "tokenizer": "none"
        if model.tokenizer is None
        else f"`tokenizer.json`, {model.tokenizer.vocab_size:,} tokens",
        "reference": recipe.reference or "none",
        "recipe digest": f"`{recipe.digest[:16]}`",
        "written by": f"modelzoo {VERSION}",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# {name}

{recipe.summary}

| | |
|---|---|
{table}

Use it from Keras:

```python
import modelzoo

model = modelzoo.load("{name}")
```

`keras.saving.load_model("{name}/model.keras")` opens it as well, without the tokenizer; write
`import modelzoo` before it, which registers the classes that the file names.

Ship it: `modelzoo export {name} -o {name}.bundle --format tflite`. All values that it was made
from are in `recipe.lock.toml`: `modelzoo show {name}`.
"""
