from app.local.restarts import DELAYS_S, after_death


def test_the_first_death_is_answered_almost_at_once():
    restart = after_death([100.0], now=100.0)
    assert restart.delay_s < 1
    assert not restart.failing


def test_every_further_death_within_a_minute_is_answered_more_slowly():
    deaths = [100.0 + second for second in range(9)]
    delays = [after_death(deaths[:count], now=109.0).delay_s for count in range(1, 10)]
    assert delays == sorted(delays)
    assert delays[-1] == DELAYS_S[-1]


def test_the_fifth_death_in_a_short_time_is_reported():
    deaths = [100.0, 101.0, 102.0, 103.0, 104.0]
    assert not after_death(deaths[:4], now=104.0).failing
    assert after_death(deaths, now=104.0).failing


def test_old_deaths_are_forgiven():
    assert after_death([100.0, 101.0, 102.0, 103.0, 500.0], now=500.0).delay_s == DELAYS_S[0]
