"""Takes a message from its queue to a destination, and a request from the outbox to the queues."""
