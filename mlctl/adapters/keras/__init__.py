"""Training with Keras: set-up, the training loop and its compiled programs."""
