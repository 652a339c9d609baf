"""A project's block storage: its volumes, their snapshots and attachments, and how much of it there may be.

All of a project is one aggregate. So a quota holds under any concurrency, and what depends on another (a volume
that is copied must not go meanwhile) is decided on one state. The bytes are made by others, who are told by
``work`` what is still to do.
"""
