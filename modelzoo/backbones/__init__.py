"""Whole models without a task: encoder, decoder, encoder-decoder, recurrent network."""

import keras  # noqa: F401  first of all: keras_hook then finds no module of ours half loaded
