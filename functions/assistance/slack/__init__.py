"""Slack messages that show requests. One Lambda function posts them; another updates one if a button is pressed."""
