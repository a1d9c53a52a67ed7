"""Formats of tables: one module for each, and the registry of all."""
