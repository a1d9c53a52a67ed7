"""What runs inside a served process: nothing here needs the rest of mlctl."""
