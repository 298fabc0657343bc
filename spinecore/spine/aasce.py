"""The three angles of the MICCAI AASCE 2019 challenge (SpineWeb-16), by the challenge's own rule.

They are not the proximal thoracic, main thoracic and lumbar curves: the first is the largest angle of the
film wherever it lies, the other two belong to the parts above and below it, or both to the part above.
Angles 2 and 3 are discontinuous in the corners (the S-shape test) and depend on the height of the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spinecore.spine.levels import LEVELS
from spinecore.spine.vertebrae import FloatArray, Vertebrae


def pairwise_angles_deg(lines: FloatArray) -> FloatArray:
    """(n, 2, 2) directed lines -> (n, n) angles in 0..180 degrees between each pair; zero diagonal.

    The lines run from image left to image right, so that curves beyond 90 degrees keep their size.
    """
    step = lines[:, 1] - lines[:, 0]
    cross = step[:, None, 0] * step[None, :, 1] - step[:, None, 1] * step[None, :, 0]
    dot = step @ step.T
    return np.asarray(np.degrees(np.arctan2(np.abs(cross), dot)), dtype=np.float64)


def is_s_shaped(vertebrae: Vertebrae) -> bool:
    """Whether the endplate midpoints lie on both sides of the line from the first to the last of them.

    The 34 points alternate between superior and inferior endplates. The challenge compares them in
    coordinates scaled by the vertical and the horizontal distance of the first and the last point, and leaves
    the last two points out.
    """
    points = np.stack(
        [vertebrae.superior_endplates.mean(axis=1), vertebrae.inferior_endplates.mean(axis=1)], axis=1
    ).reshape(-1, 2)
    extent = points[0] - points[-1]
    # Multiplied out by both extents: the same sign test without dividing by a straight spine's zero extent.
    offset = (points - points[-1]) * extent[::-1]
    side = (offset[:-2, 1] - offset[:-2, 0])[1:]  # the first point lies on the line by construction
    return bool((side > 0).any() and (side < 0).any())


def aasce_angles(vertebrae: Vertebrae, image_height: float) -> NDArray[np.float64]:
    """(3,) degrees: the largest angle between two mid-lines, then the challenge's second and third angle.

    image_height: rows of the original film; the rule asks in which half of the image the largest curve lies.
    Raises ValueError unless the seventeen vertebrae T1..L5 are given: the rule is defined for them only.

    Source: the challenge's MATLAB reference as published with SpineWeb-16; the midpoints of the *inferior*
    endplates decide the half of the image, and `max` takes the first of equal entries.
    """
    if vertebrae.levels != LEVELS:
        raise ValueError(
            f"the AASCE angles are defined for the 17 vertebrae T1..L5, got {len(vertebrae)}: "
            f"{', '.join(vertebrae.levels) or 'none'}"
        )
    angles = pairwise_angles_deg(vertebrae.midlines)
    largest = angles.max(axis=0)
    upper = int(largest.argmax())
    lower = int(angles[:, upper].argmax())
    major = largest[upper]
    if not is_s_shaped(vertebrae):
        return np.array([major, angles[0, upper], angles[-1, lower]])
    above = angles[upper, : upper + 1]
    bottom = vertebrae.inferior_endplates.mean(axis=1)[:, 1]
    if bottom[upper] + bottom[lower] < image_height:
        return np.array([major, above.max(), angles[lower, lower:].max()])
    second_upper = int(above.argmax())
    return np.array([major, above.max(), angles[second_upper, : second_upper + 1].max()])
