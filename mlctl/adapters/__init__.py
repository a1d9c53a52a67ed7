"""Where MLflow, Keras's training loop, boto3 and child processes are used; foreign errors end here."""
