"""The child process of an export: what it is given, what it does, what it answers."""
