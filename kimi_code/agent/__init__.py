"""The plan-act-verify loop. Knows no screen, no disk, no model library."""
