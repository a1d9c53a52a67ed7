"""Commands that combine several services: train, tune, automl, resume, reproduce."""
