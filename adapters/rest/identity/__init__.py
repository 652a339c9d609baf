"""The embedded identity: Keystone's v3 API as far as clients need it to log in and to name things.

Users and projects come from the configuration file and cannot be changed through this API.
"""
