"""Hands for a repository: read, edit, search, run. Knows no model and no user interface."""
