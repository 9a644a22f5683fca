"""What `make deploy` does: look first, say what it would take away, and only then have the CDK deploy."""
