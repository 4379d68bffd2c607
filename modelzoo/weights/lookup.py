"""Which table reads a checkpoint: the core's, and those that plugins bring.

[project.entry-points."modelzoo.weight_tables"]
acme_moe = "modelzoo_acme.weights:TABLE"     # for config.json with model_type "acme_moe"
"""

from __future__ import annotations

from modelzoo import plugins
from modelzoo.weights.table import Table
from modelzoo.weights.tables import TABLES


def known_types() -> list[str]:
    """Every model type that has a table; no plugin is imported for it."""
    theirs = {name for p in plugins.discover() if p.usable for name in p.weight_tables}
    return sorted({*TABLES, *theirs})


def table_of_type(model_type: str) -> Table | None:
    """The table of a model type; the core's cannot be replaced.

    Raises:
        PluginError: it is a plugin's, and cannot be used.
    """
    return TABLES.get(model_type) or plugins.load_weight_table(model_type)


def tables_of(architecture: str) -> list[Table]:
    """The tables of an architecture: the core's, and for a plugin's those of that plugin."""
    found = [table for table in TABLES.values() if table.architecture == architecture]
    namespace, slash, _ = architecture.partition("/")
    plugin = plugins.get(namespace) if slash else None
    for model_type in plugin.weight_tables if plugin else ():
        table = table_of_type(model_type)
        if table is not None and table.architecture == architecture:
            found.append(table)
    return found
