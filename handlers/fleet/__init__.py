"""The hosts of a cell: enrolled, switched, looked at, and heard of."""
