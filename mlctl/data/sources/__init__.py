"""Finding, downloading and caching data files."""
