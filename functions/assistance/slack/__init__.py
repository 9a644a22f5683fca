"""How Slack shows requests: for the function that posts them, and for the one that draws them again."""
