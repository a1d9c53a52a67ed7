"""The command line: a module for each command or small group; each command calls a service and shows its answer."""
