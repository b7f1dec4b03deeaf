"""A server under load: clients, a publisher, and a judge of every answer."""
