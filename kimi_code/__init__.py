"""A coding agent for the terminal that owns its model."""
