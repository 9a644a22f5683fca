"""Keeps requests and their records in the table."""
