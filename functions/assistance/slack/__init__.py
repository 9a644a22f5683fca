"""Slack messages that show requests. One function posts them, another updates one if a human takes a request in it."""
