"""Measurements of the whole program, driven as a process. Not shipped."""
