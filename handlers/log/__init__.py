"""Reading and writing aggregates: one at a time, by the group, or held in memory."""
