"""Yield sets whose stars test an inference with TNG."""

PUBLISHED_SETS = (
    "alternative",
    "nkt13+k10+w7",
    "lc18r_v0+k10+w7",
    "lc18r_v150+k10+wdd2",
    "lc18i_v150+k10+w7",
    "lc18m_v0+k10+w7",
)
