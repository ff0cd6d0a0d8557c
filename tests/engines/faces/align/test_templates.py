import numpy as np
import pytest

from engines.faces.align.templates import Template, template_points

# The published pixels of the three templates that are known in pixels.
PIXELS = {
    (Template.ARCFACE_112_V2, 112): [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ],
    (Template.ARCFACE_128, 128): [
        (46.2946, 51.6963),
        (81.5318, 51.5014),
        (64.0252, 71.7366),
        (49.5493, 92.3655),
        (78.7299, 92.2041),
    ],
    (Template.FFHQ_512, 512): [
        (192.9814, 239.9471),
        (318.9028, 240.1936),
        (256.6342, 314.0194),
        (201.2612, 371.4104),
        (313.0891, 371.1512),
    ],
}


@pytest.mark.parametrize(("template", "size"), PIXELS)
def test_the_templates_are_the_published_pixels(template, size):
    points = template_points(template, size=size)
    assert np.allclose(points, PIXELS[template, size], atol=1e-4)


@pytest.mark.parametrize("template", Template)
def test_every_template_is_a_frontal_face_that_grows_with_its_size(template):
    points = template_points(template, size=100)
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert np.allclose(template_points(template, size=256), points * 2.56)
