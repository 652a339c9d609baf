"""Programs that read the logs, as ``ops/docs/follow.md`` shows them."""
