"""The page to try a model on: plain files, read once."""
