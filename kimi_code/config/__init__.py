"""Settings: what they are, where they come from, which of them a project may set."""
