"""The transformer core that all families share. Import what you need from its modules."""
