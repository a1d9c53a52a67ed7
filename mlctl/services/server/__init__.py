"""The tracking server: start, stop, inspect, back up, restore, and clean up."""
