"""Predict with a model, and score its predictions."""
