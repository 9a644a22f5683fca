"""Runs the stack on one machine: with MiniStack instead of AWS, a local Slack server, and a demonstration."""
