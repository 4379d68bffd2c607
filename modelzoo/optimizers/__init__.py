"""The optimizer, schedule and compilation that a recipe's `[train]` table describes."""
