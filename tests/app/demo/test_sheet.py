from PIL import Image

from app.demo.media import find_font
from app.demo.sheet import MARGIN, THUMB_WIDTH, Pair, draw_sheet


def picture(path, colour, size):
    Image.new("RGB", size, colour).save(path)
    return path


def test_every_pair_is_on_the_sheet_at_its_place(tmp_path):
    red = picture(tmp_path / "red.png", "red", (300, 200))
    blue = picture(tmp_path / "blue.png", "blue", (100, 400))
    pairs = [
        Pair(before=red, after=blue, title="detect  x@1", line="1 token", note=f"job_{number}")
        for number in range(3)
    ]
    target = draw_sheet(
        pairs, tmp_path / "sheet.png", title="Demo", subtitle="three", font_file=find_font()
    )
    with Image.open(target) as sheet:
        colours = {colour: count for count, colour in sheet.getcolors(maxcolors=100_000)}
        assert colours[(255, 0, 0)] > 3 * 200 * 200
        assert colours[(0, 0, 255)] > 3 * 70 * 250
        assert sheet.width == 4 * THUMB_WIDTH + 2 * 6 + 3 * MARGIN
