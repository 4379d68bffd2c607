"""An export proves itself: the bundle is run against the Keras model."""
