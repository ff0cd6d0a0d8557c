import threading

import pytest

from engines.media.channel import Channel, ChannelClosedError


def test_items_arrive_in_order_and_then_nothing():
    channel = Channel[int](depth=3)
    for item in (1, 2, 3):
        channel.put(item)
    channel.end()
    assert [channel.get(), channel.get(), channel.get(), channel.get()] == [1, 2, 3, None]


def test_what_was_handed_over_before_an_error_is_still_read():
    channel = Channel[int](depth=3)
    channel.put(1)
    channel.fail(ValueError("broken"))
    assert channel.get() == 1
    with pytest.raises(ValueError, match="broken"):
        channel.get()


def test_a_writer_waits_for_room():
    channel = Channel[int](depth=1)
    channel.put(1)
    writer = threading.Thread(target=channel.put, args=(2,))
    writer.start()
    writer.join(timeout=0.1)
    assert writer.is_alive()
    assert channel.get() == 1
    writer.join(timeout=5)
    assert channel.get() == 2


def test_a_reader_that_leaves_frees_the_writer():
    channel = Channel[int](depth=1)
    channel.put(1)
    threading.Timer(0.05, channel.leave).start()
    with pytest.raises(ChannelClosedError):
        channel.put(2)


def test_waiting_can_be_interrupted():
    channel = Channel[int](depth=1)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        channel.get(idle=stop)
