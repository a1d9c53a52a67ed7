"""Processes, files and packages of this machine."""
