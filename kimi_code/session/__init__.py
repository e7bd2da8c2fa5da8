"""One append-only log per agent, and everything that is computed from it."""
