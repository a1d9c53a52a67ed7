"""Training: from data and a recipe to a logged model, and what is needed to resume a run."""
