"""Finding recipes, and preparing their data."""
