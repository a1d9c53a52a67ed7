"""Code that runs inside a serving process. It does not import the rest of mlctl."""
