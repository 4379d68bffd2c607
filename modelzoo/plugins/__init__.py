"""Plugins: distributions that claim one namespace, found by entry points and not imported.

    [project.entry-points."modelzoo.plugins"]
    acme = "modelzoo_acme"                  # claims acme/...; holds its recipes and bundles
    [project.entry-points."modelzoo.architectures"]
    moe = "modelzoo_acme.moe:build"         # becomes acme/moe

Discovery never raises and never imports: what is wrong with a plugin is its `problem`. Use always
raises, naming the distribution, its version, the entry point, and the way on without it.
`MODELZOO_PLUGINS`: unset = all, empty = none, `a,b` = only these; decided before any is loaded.
"""

from modelzoo.plugins.bundles import glance_manifest
from modelzoo.plugins.discovery import CLAIMS, VARIABLE, discover
from modelzoo.plugins.plugin import GROUPS, Plugin, module_file
from modelzoo.plugins.use import (
    bundle_names,
    find_bundle,
    get,
    hint,
    import_package,
    load,
    load_weight_table,
    target_of,
)

__all__ = [
    "CLAIMS",
    "GROUPS",
    "VARIABLE",
    "Plugin",
    "bundle_names",
    "discover",
    "find_bundle",
    "get",
    "glance_manifest",
    "hint",
    "import_package",
    "load",
    "load_weight_table",
    "module_file",
    "target_of",
]
