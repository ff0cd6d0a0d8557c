from app.catalog.sentence import price_sentence
from billing.card_data import read_card
from billing.publishing import card_body, shipped

SENTENCES = {
    data["card"]: price_sentence(read_card(card_body(data), card=data["card"], version=1))
    for data in shipped()
}


def test_a_short_card_is_a_short_sentence():
    assert SENTENCES["flat"] == (
        "Tokens: image (media image) 1 per image; video (media video) 10 per second."
        " The sum is rounded half up to 0.001."
    )


def test_tables_batches_rebates_and_fractions_are_told():
    assert "x model [yolov8n 0.7, yolov8s 1, yolov8m 1.8," in SENTENCES["yolo"]
    assert "Items of one batch: 5 % off from 10 on, 10 % off from 100 on" in SENTENCES["yolo"]
    assert "cached source faces (media image) -3 per face" in SENTENCES["facefusion"]
    assert "embed 1/15 per ms" in SENTENCES["facefusion-gpu"]
    assert "at least 10" in SENTENCES["ddcolor"]
