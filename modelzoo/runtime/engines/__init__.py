"""What runs a bundle's signatures: LiteRT for TFLite files, TensorFlow for SavedModels."""
