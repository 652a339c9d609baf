"""The embedded identity: projects, users, roles, and who holds which role where.

The one domain is one aggregate: its names are unique under any concurrency, and no change can take away the last
administrator.
"""
