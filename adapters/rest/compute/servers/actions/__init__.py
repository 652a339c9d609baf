"""What is done to a server by ``POST /servers/{server_id}/action``."""
