"""The README.md of a model directory: what it is, and how to go on."""

from __future__ import annotations

from modelzoo.about import VERSION
from modelzoo.tasks.profile import said
from modelzoo.weights.origin import card_rows, source_table

_SHOWN = 20  # labels that the card lists


def model_card(model, name: str) -> str:
    """Markdown for a model with a recipe, in a directory called `name`."""
    recipe = model.recipe
    labels = recipe.table("task_options").get("labels")
    rows = {
        "recipe": f"`{recipe.name}`",
        "architecture": f"`{recipe.architecture}`",
        "task": f"`{recipe.task}`",
        "parameters": f"{model.count_params():,}",
        "tokenizer": "none"
        if model.tokenizer is None
        else f"`tokenizer.json`, {model.tokenizer.vocab_size:,} tokens",
        **({"labels": _listed(labels)} if labels else {}),
        **card_rows(source_table(model)),
        "reference": recipe.reference or "none",
        "recipe digest": f"`{recipe.digest[:16]}`",
        "written by": f"modelzoo {VERSION}",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# {name}

{recipe.summary or f"A model that {said(recipe.task, 'does') or f'does the task {recipe.task}'}."}

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


def _listed(labels: list) -> str:
    more = f" and {len(labels) - _SHOWN:,} more" if len(labels) > _SHOWN else ""
    return ", ".join(str(label).replace("|", "\\|") for label in labels[:_SHOWN]) + more
