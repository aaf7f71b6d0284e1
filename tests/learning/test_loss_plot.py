import xml.etree.ElementTree as ET

import pytest

from learning.loss_plot import loss_plot


@pytest.mark.parametrize("losses", [[2.0, 1.0, 0.5], [1.0], [], [0.0, 0.0]])
def test_any_run_is_a_picture(losses):
    root = ET.fromstring(loss_plot(losses))
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [len(losses)] * 2
    assert f"{len(losses)} steps" in loss_plot(losses)
