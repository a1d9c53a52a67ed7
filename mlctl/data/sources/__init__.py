"""Find, download and cache data files."""
