"""What depends on the Keras backend: lookups, replicas, one trace for equal blocks."""
