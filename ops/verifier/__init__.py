"""What an auditor takes along."""
