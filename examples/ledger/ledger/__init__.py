"""The books of a small club, as plain text."""
