"""`make deploy` and `make bootstrap`: check the credentials and the account, then let the CDK change the account."""
