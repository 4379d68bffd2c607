"""Checkpoints of the Hugging Face Hub: fetching them, and what a failure means."""
