"""Processes, files, packages and HTTP requests of this machine."""
