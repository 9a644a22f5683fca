"""Stores requests and their records in the DynamoDB table."""
