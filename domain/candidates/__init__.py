"""The search for allocation candidates."""

from domain.candidates.explain import Explanation, explain, nearest
from domain.candidates.request import Candidate, Group, Request
from domain.candidates.search import candidates, search

__all__ = ["Candidate", "Explanation", "Group", "Request", "candidates", "explain", "nearest", "search"]
