"""`make deploy`: check first, list what would be removed, and only then let the CDK deploy."""
