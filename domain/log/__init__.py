"""What every event and every kind of aggregate has; and the events that are about the log itself."""
