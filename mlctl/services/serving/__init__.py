"""Serve models: endpoints, API keys, and exports for other platforms."""
