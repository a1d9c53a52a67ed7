"""Logged models: writing, loading and converting them."""
