"""The Slack messages that show requests. One function posts them, and another updates them when a human takes one."""
