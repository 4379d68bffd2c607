"""Checkpoints of other projects: Hugging Face layout and GGUF in, Hugging Face layout out.

    open_checkpoint(SOURCE)    a directory, a file, hf://owner/name  ->  Checkpoint
    recipe_of_checkpoint       its config.json                      ->  a recipe
    read_weights               its tensors                          ->  a Keras model
    write_checkpoint           a Keras model                        ->  a directory

How names and keys correspond is data: `weights.tables`, one table a model type.
"""

from modelzoo.weights.derive import recipe_of_checkpoint
from modelzoo.weights.opening import is_source, open_checkpoint
from modelzoo.weights.read import read_weights
from modelzoo.weights.write import write_checkpoint

__all__ = [
    "is_source",
    "open_checkpoint",
    "read_weights",
    "recipe_of_checkpoint",
    "write_checkpoint",
]
