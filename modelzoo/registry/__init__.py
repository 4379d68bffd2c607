"""Names to things: recipes, architectures, tasks, exporters. Looking never imports Keras.

recipes       the recipe of a name, a TOML file or a model directory; the list of all
entries       a line of that list, and the list as a table
components    architectures, tasks and exporters by name
of_recipe     the recipe of a model, the task of a recipe
definitions   file and line of a function, read from its source text
"""

from modelzoo.registry.components import architecture, exporter, task
from modelzoo.registry.entries import Entries, Entry
from modelzoo.registry.of_recipe import recipe_of, task_of
from modelzoo.registry.recipes import (
    Place,
    bundles,
    find,
    import_for,
    is_name,
    names,
    read_recipe,
    recipe,
    recipes_directory,
    register,
    where,
)

__all__ = [
    "Entries",
    "Entry",
    "Place",
    "architecture",
    "bundles",
    "exporter",
    "find",
    "import_for",
    "is_name",
    "names",
    "read_recipe",
    "recipe",
    "recipe_of",
    "recipes_directory",
    "register",
    "task",
    "task_of",
    "where",
]
