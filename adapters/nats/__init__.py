"""The log, the bus, signs of life and keys on NATS JetStream."""
