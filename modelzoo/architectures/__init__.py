"""One idea a file: a keyword-only `build(...) -> keras.Model` whose signature is the schema.

These modules are light: Keras is imported when a function is called, so that a recipe is checked
against a signature in no time.
"""
