"""What ships for tests and demonstrations: a scripted model, its server, workspaces."""
