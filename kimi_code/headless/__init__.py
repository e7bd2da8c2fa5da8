"""The face without a terminal: one task in, text or JSON out."""
