"""Who has how much, who holds what of it, and where there is room: Placement as an aggregate."""
