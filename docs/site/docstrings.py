"""Griffe knows a section "Examples:"; our docstrings have one, "Example:"."""

import griffe


class OneExample(griffe.Extension):
    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
