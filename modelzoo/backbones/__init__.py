"""Whole models without a task: encoder, decoder, encoder-decoder, recurrent network."""
