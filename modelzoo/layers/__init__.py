"""The transformer core that all families share. Import what you need from its modules."""

import keras  # noqa: F401  first of all: keras_hook then finds no module of ours half loaded
