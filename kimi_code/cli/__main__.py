"""`python -m kimi_code.cli` is `kimi-code`."""

from kimi_code.cli.entry import main

main()
