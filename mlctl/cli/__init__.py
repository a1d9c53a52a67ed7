"""The command line: one file a command or a small group, each body one call to a service."""
