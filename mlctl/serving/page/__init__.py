"""The web page to try a model: static files."""
