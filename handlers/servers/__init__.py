"""What users may have done with servers."""
