"""Automatic machine learning on a table: several families of models, a blend of them, one model to serve."""
