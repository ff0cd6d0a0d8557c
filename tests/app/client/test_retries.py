from app.client.retries import RetryPolicy, may_repeat


def test_delays_double_up_to_their_maximum():
    policy = RetryPolicy(attempts=9, delay_s=0.5, delay_s_max=3)
    delays = [policy.delay_before(attempt, jitter=1.0) for attempt in range(2, 7)]
    assert delays == [0.5, 1.0, 2.0, 3, 3]


def test_jitter_takes_up_to_half_of_a_delay():
    policy = RetryPolicy(delay_s=1.0)
    assert policy.delay_before(2, jitter=0.0) == 0.5


def test_only_what_has_one_effect_may_be_repeated():
    assert may_repeat("GET", idempotency_key=None)
    assert may_repeat("POST", idempotency_key="k")
    assert not may_repeat("POST", idempotency_key=None)
