"""`make deploy` and `make bootstrap`: check first, and only then let the CDK change an account."""
