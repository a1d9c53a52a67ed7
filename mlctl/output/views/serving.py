"""How endpoints, keys and predictions are shown."""
