"""The stack on one machine: MiniStack as the cloud, a server that speaks Slack's protocol, and a demonstration."""
