"""The commands of the command line, grouped by topic. Each module has an `app`."""
