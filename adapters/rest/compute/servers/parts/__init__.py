"""What a server has below its own address: metadata, tags, and what neighbours hold of it."""
