"""The command line. The one place where imports may be lazy."""
