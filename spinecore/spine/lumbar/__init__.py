"""Lumbar spine on sagittal slices: from a mask of vertebrae, discs and canal to named levels and their sizes.

Slices lie as radiologists read them: the patient's front to the left, the head up. Masks hold 0 background, 1
vertebrae, 2 discs, 3 canal.
"""
