"""Who may see which screen or log, and who does."""
