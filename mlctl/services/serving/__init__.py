"""Models at work: endpoints, their keys, and asking for predictions."""
