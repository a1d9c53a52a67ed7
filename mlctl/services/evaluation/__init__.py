"""Predicting with a model, and scoring its predictions."""
