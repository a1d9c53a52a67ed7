"""Code that runs inside a serving process. Of the rest of mlctl it imports only errors, files, machine and domain."""
