"""From a name to a Keras model, and from a model to a directory and back."""
