"""Publishes messages from the outbox to the queues, and delivers messages from the queues to their destinations."""
