"""The kinematic knowledge map: 238 named features of every frame of a walk."""

from __future__ import annotations

from .layout import COLUMNS, FEATURES, Column
from .map import KnowledgeMap, knowledge_map

__all__ = ["COLUMNS", "FEATURES", "Column", "KnowledgeMap", "knowledge_map"]
