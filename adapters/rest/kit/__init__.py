"""What every API needs: a request is let in, an operation is found, its answer is worded. Knows no API."""
