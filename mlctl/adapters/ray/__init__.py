"""A Ray cluster: connection, tasks and messages."""
