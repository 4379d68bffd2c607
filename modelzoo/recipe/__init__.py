"""A recipe is data, never code: reading, merging, checking and locking one. No Keras.

reading       a TOML file, and the recipe that it extends -> Recipe
composition   a model that is made of other recipes
schema        a table checked against the signature of its function
lock          recipe.lock.toml of a model directory or a bundle
glance        the head of a recipe alone, for a list of thousands
train_options the table [train]
"""

from modelzoo.recipe.glance import glance
from modelzoo.recipe.lock import LOCK_NAME, lock_text, read_lock, write_lock
from modelzoo.recipe.reading import from_values, override, read
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.toml import dumps
from modelzoo.recipe.values import TABLES, parse_set

__all__ = [
    "LOCK_NAME",
    "TABLES",
    "Recipe",
    "dumps",
    "from_values",
    "glance",
    "lock_text",
    "override",
    "parse_set",
    "read",
    "read_lock",
    "write_lock",
]
