"""Everything that a command does: functions that take plain values and return frozen ones.

They do not print, parse arguments or end the program.
"""
