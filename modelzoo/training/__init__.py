"""Training that can be killed: batches by number, checkpoints that are whole, the same end."""
