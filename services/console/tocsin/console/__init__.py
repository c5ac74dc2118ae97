"""The management side: the one writer of `configuration`, and the command line."""
