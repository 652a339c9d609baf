"""The search for allocation candidates."""

from domain.placement.candidates.explain import Explanation, explain, nearest
from domain.placement.candidates.request import Candidate, Group, Request
from domain.placement.candidates.search import candidates, search

__all__ = ["Candidate", "Explanation", "Group", "Request", "candidates", "explain", "nearest", "search"]
