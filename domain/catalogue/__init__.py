"""What servers are made by, and how many a project may have: flavors, keypairs, quotas."""
