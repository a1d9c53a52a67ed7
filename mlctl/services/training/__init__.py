"""Training: from data and a recipe to a logged model, and going on after what interrupted it."""
