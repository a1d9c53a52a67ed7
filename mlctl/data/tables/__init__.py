"""Reading a user's own tables."""
