"""A package that is started as `python -m houses.train`."""
