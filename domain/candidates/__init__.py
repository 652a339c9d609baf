"""The search for allocation candidates."""

from domain.candidates.request import Candidate, Group, Request
from domain.candidates.search import candidates, search

__all__ = ["Candidate", "Group", "Request", "candidates", "search"]
