"""The commands, by what they deal with. Each module's `app` is part of the command line."""
