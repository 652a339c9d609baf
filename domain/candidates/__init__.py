"""The search for allocation candidates."""

from domain.candidates.request import Candidate, Group, Request
from domain.candidates.search import search

__all__ = ["Candidate", "Group", "Request", "search"]
