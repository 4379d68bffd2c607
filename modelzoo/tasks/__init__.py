"""Problems that a model solves: raw data in, head, loss, metrics, an answer that a person reads."""

import keras  # noqa: F401  first of all: keras_registration then finds no module of ours half loaded
