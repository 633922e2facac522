"""Every schedule of the package with its closed form in float64, the step a Python int."""

import itertools
import math

import gradkit as gk


def cosine(left, done):
    """(1 + cos(π done)) / 2 to full precision."""
    return math.cos(math.pi / 2 * done) ** 2 if done < 0.5 else math.sin(math.pi / 2 * left) ** 2


def parts(t, length):
    t = min(max(t, 0), length)
    return (length - t) / length, t / length


def poly(a, b, p, length, begin=0):
    def value(step):
        left, _ = parts(step - begin, length)
        return (a - b) * left**p + b

    return value


def line(a, b, length, begin=0):
    def value(step):
        left, done = parts(step - begin, length)
        return a * left + b * done

    return value


def cos_decay(a, length, alpha=0.0, p=1.0):
    return lambda step: a * ((1 - alpha) * cosine(*parts(step, length)) ** p + alpha)


def exp_decay(a, length, rate, begin=0, staircase=False, end=None):
    def value(step):
        t = max(step - begin, 0)
        exponent = (t // length if staircase else t / length) * math.log(rate)
        result = (
            a * rate ** (t // length if staircase else t / length) if exponent < 700 else math.inf
        )
        return result if end is None else max(result, end) if rate < 1 else min(result, end)

    return value


def natural(a, length, rate, begin=0, staircase=False, end=0.0):
    def value(step):
        t = max(step - begin, 0)
        return max(a * math.exp(-rate * (t // length if staircase else t / length)), end)

    return value


def inverse_time(a, length, rate, begin=0, staircase=False, end=0.0):
    def value(step):
        t = max(step - begin, 0)
        return max(a / (1 + rate * (t // length if staircase else t / length)), end)

    return value


def inverse_sqrt(peak, warmup=0):
    w = max(warmup, 1)
    return lambda step: peak * min((step + 1) / w, math.sqrt(w / (step + 1)))


def constants(a, scales):
    return lambda step: a * math.prod(s for b, s in scales.items() if b <= step)


def joined(pieces, bounds):
    def value(step):
        i = sum(b <= step for b in bounds)
        return pieces[i](step - (bounds[i - 1] if i else 0))

    return value


def through(kind, points):
    """Points (step, value), the first at step 0."""

    def value(step):
        for (b0, v0), (b1, v1) in itertools.pairwise(points):
            if b0 <= step < b1:
                left, done = parts(step - b0, b1 - b0)
                return (
                    v0 * left + v1 * done
                    if kind == "linear"
                    else v0 * cosine(left, done) + v1 * cosine(done, left)
                )
        return points[-1][1]

    return value


def wsd(a, peak, warmup, stable, decay, end, shape):
    def cooldown(t):
        left, done = parts(t, decay)
        weight = {
            "linear": left,
            "cosine": cosine(left, done),
            "1-sqrt": left / (1 + math.sqrt(done)),
        }[shape]
        return end + (peak - end) * weight

    return joined([line(a, peak, warmup), lambda t: peak, cooldown], [warmup, warmup + stable])


def triangular(low, high, half, rate=1.0):
    def value(step):
        m = 1 + step // (2 * half)
        b = abs(step - (2 * m - 1) * half) / half
        up = (half - abs(step - (2 * m - 1) * half)) / half
        return rate ** (m - 1) * (low * b + high * up)

    return value


def restarts(a, first, growth=2, rate=1.0, alpha=0.0):
    def value(step):
        length, factor = first, 1.0
        if growth == 1:
            factor, step = rate ** (step // first), step % first
        while step >= length:
            step, length, factor = step - length, length * growth, factor * rate
        return factor * a * (alpha + (1 - alpha) * cosine(*parts(step, length)))

    return value


BIG = 2**24
# (the schedule, its closed form, its length)
CASES = [
    (gk.constant_schedule(0.3), lambda step: 0.3, 10),
    (gk.linear_schedule(0.0, 0.7, 37), line(0.0, 0.7, 37), 37),
    (gk.linear_schedule(1.0, 1e-6, 100, transition_begin=7), line(1.0, 1e-6, 100, 7), 107),
    (gk.linear_schedule(1.0, 0.0, 2**31 - 1), line(1.0, 0.0, 2**31 - 1), 2**31 - 1),
    (
        gk.linear_schedule(1.0, 0.1, 2**33, transition_begin=BIG),
        line(1.0, 0.1, 2**33, BIG),
        2**31 - 1,
    ),
    (gk.linear_schedule(1.0, 0.1, 5, transition_begin=2**40), lambda step: 1.0, 2**31 - 1),
    (gk.linear_schedule(1.0, 0.25, 312.5, 0.5), line(1.0, 0.25, 312.5, 0.5), 313),
    (gk.linear_schedule(0.5, 0.25, 0), lambda step: 0.5, 10),
    (gk.polynomial_schedule(1.0, 0.1, 2.5, 41, 3), poly(1.0, 0.1, 2.5, 41, 3), 44),
    (gk.polynomial_schedule(0.5, 0.0, 0.5, BIG + 11), poly(0.5, 0.0, 0.5, BIG + 11), BIG),
    (gk.cosine_decay_schedule(0.3, 50), cos_decay(0.3, 50), 50),
    (
        gk.cosine_decay_schedule(0.3, 10**9, alpha=0.05, exponent=2.0),
        cos_decay(0.3, 10**9, 0.05, 2.0),
        10**9,
    ),
    (gk.exponential_decay(0.3, 10, 0.96), exp_decay(0.3, 10, 0.96), 100),
    (gk.exponential_decay(0.3, 1, 0.999999), exp_decay(0.3, 1, 0.999999), BIG),
    (
        gk.exponential_decay(0.3, 10**7, 0.9, 12345, True),
        exp_decay(0.3, 10**7, 0.9, 12345, True),
        2**31 - 1,
    ),
    (gk.exponential_decay(0.3, 7, 1.01, end_value=0.9), exp_decay(0.3, 7, 1.01, end=0.9), 1000),
    (
        gk.exponential_decay(0.3, 2**26, 0.5, end_value=1e-5),
        exp_decay(0.3, 2**26, 0.5, end=1e-5),
        2**31 - 1,
    ),
    (gk.schedules.natural_exponential_decay(0.1, 1, 0.04), natural(0.1, 1, 0.04), 100),
    (
        gk.schedules.natural_exponential_decay(0.1, 10**8, 0.7, 5),
        natural(0.1, 10**8, 0.7, 5),
        2**31 - 1,
    ),
    (
        gk.schedules.natural_exponential_decay(0.1, 9, 0.3, staircase=True, end_value=1e-3),
        natural(0.1, 9, 0.3, 0, True, 1e-3),
        100,
    ),
    (gk.schedules.inverse_time_decay(0.1, 1, 0.1), inverse_time(0.1, 1, 0.1), 100),
    (
        gk.schedules.inverse_time_decay(0.1, 1000, 0.5, 3, True),
        inverse_time(0.1, 1000, 0.5, 3, True),
        BIG,
    ),
    (gk.schedules.inverse_sqrt_schedule(0.2), inverse_sqrt(0.2), BIG),
    (gk.schedules.inverse_sqrt_schedule(0.2, warmup_steps=25), inverse_sqrt(0.2, 25), 100),
    (
        gk.piecewise_constant_schedule(0.2, {BIG + 1: 0.1, 30: 0.5, 2**31 - 2: 0.5, 2**35: 0.0}),
        constants(0.2, {BIG + 1: 0.1, 30: 0.5, 2**31 - 2: 0.5}),
        BIG + 1,
    ),
    (gk.piecewise_constant_schedule(0.2), constants(0.2, {}), 10),
    (
        gk.piecewise_interpolate_schedule("linear", 0.2, {10: 0.5, BIG + 10: 0.1, BIG + 20: 3.0}),
        through("linear", [(0, 0.2), (10, 0.1), (BIG + 10, 0.01), (BIG + 20, 0.03)]),
        BIG + 10,
    ),
    (
        gk.piecewise_interpolate_schedule("cosine", 0.2, {0: 2.0, 20: 0.5, 2**34: 1e-3}),
        through("cosine", [(0, 0.4), (20, 0.2), (2**34, 0.2e-3)]),
        40,
    ),
    (
        gk.linear_onecycle_schedule(200, 1.0),
        through("linear", [(0, 0.04), (60, 1.0), (170, 0.04), (200, 4e-6)]),
        200,
    ),
    (
        gk.cosine_onecycle_schedule(10**9, 0.5, 0.25, 10.0, 100.0),
        through("cosine", [(0, 0.05), (25 * 10**7, 0.5), (10**9, 5e-4)]),
        10**9,
    ),
    (gk.warmup_constant_schedule(0.1, 0.4, 30), line(0.1, 0.4, 30), 30),
    (
        gk.warmup_cosine_decay_schedule(0.0, 0.4, 30, 300, 0.01, 1.5),
        joined([line(0.0, 0.4, 30), cos_decay(0.4, 270, 0.025, 1.5)], [30]),
        300,
    ),
    (
        gk.warmup_cosine_decay_schedule(0.0, 0.4, BIG + 3, 2**31 - 1),
        joined([line(0.0, 0.4, BIG + 3), cos_decay(0.4, 2**31 - 1 - BIG - 3)], [BIG + 3]),
        2**31 - 1,
    ),
    (
        gk.warmup_exponential_decay_schedule(0.0, 0.4, 20, 15, 0.7, 5, True, 0.01),
        joined([line(0.0, 0.4, 20), exp_decay(0.4, 15, 0.7, 5, True, 0.01)], [20]),
        100,
    ),
    *[
        (
            gk.warmup_stable_decay_schedule(0.0, 0.4, 20, BIG, 50, 0.004, shape),
            wsd(0.0, 0.4, 20, BIG, 50, 0.004, shape),
            BIG + 70,
        )
        for shape in ("linear", "cosine", "1-sqrt")
    ],
    (gk.schedules.triangular_schedule(0.1, 0.9, 7, 0.9), triangular(0.1, 0.9, 7, 0.9), 100),
    (gk.schedules.triangular_schedule(0.1, 0.9, BIG // 3), triangular(0.1, 0.9, BIG // 3), BIG),
    (
        gk.schedules.triangular_schedule(0.1, 0.9, 2**30 + 1, 0.5),
        triangular(0.1, 0.9, 2**30 + 1, 0.5),
        2**31 - 1,
    ),
    (gk.schedules.triangular_schedule(0.1, 0.9, 2**32), triangular(0.1, 0.9, 2**32), 2**31 - 1),
    (
        gk.schedules.warm_restarts_schedule(0.5, 10, 2, 0.8, 0.01),
        restarts(0.5, 10, 2, 0.8, 0.01),
        150,
    ),
    (
        gk.schedules.warm_restarts_schedule(0.5, 1000, 3, 0.9),
        restarts(0.5, 1000, 3, 0.9),
        2**31 - 1,
    ),
    (
        gk.schedules.warm_restarts_schedule(0.5, 12.5, 2, 0.9, 0.01),
        restarts(0.5, 12.5, 2, 0.9, 0.01),
        90,
    ),
    (
        gk.schedules.warm_restarts_schedule(0.5, 10, 2, 0.8, 0.01),
        restarts(0.5, 10, 2, 0.8, 0.01),
        150,
    ),
    (
        gk.schedules.warm_restarts_schedule(0.5, 1000, 3, 0.9),
        restarts(0.5, 1000, 3, 0.9),
        2**31 - 1,
    ),
    (
        gk.schedules.warm_restarts_schedule(0.5, BIG // 5, 1, 0.99, 0.1),
        restarts(0.5, BIG // 5, 1, 0.99, 0.1),
        BIG,
    ),
    (
        gk.schedules.per_epoch(gk.schedules.inverse_sqrt_schedule(0.1), 13),
        lambda step: 0.1 / math.sqrt(step // 13 + 1),
        100,
    ),
    (
        gk.schedules.per_epoch(gk.schedules.inverse_time_decay(0.2, 1, 0.5), 100, fractional=True),
        inverse_time(0.2, 100, 0.5),
        400,
    ),
    (
        gk.schedules.linear_warmup(gk.exponential_decay(0.8, 100, 0.5), 50),
        lambda step: 0.8 * (step + 1) / 50 if step < 50 else exp_decay(0.8, 100, 0.5)(step - 50),
        200,
    ),
    (
        gk.sgdr_schedule(
            [
                {"init_value": 0.0, "peak_value": 0.4, "warmup_steps": 5, "decay_steps": 30},
                {"init_value": 0.1, "peak_value": 0.2, "warmup_steps": 0, "decay_steps": 50},
            ]
        ),
        joined([line(0.0, 0.4, 5), cos_decay(0.4, 25), cos_decay(0.2, 50)], [5, 30]),
        80,
    ),
    (
        gk.join_schedules(
            [gk.linear_schedule(0.0, 1.0, 10), gk.cosine_decay_schedule(1.0, 40), 0.125], [10, 45]
        ),
        joined([line(0.0, 1.0, 10), cos_decay(1.0, 40), lambda step: 0.125], [10, 45]),
        60,
    ),
]

EACH = list({case[0].factory: case for case in CASES}.values())  # one of each factory


def label(case):
    return repr(case[0])[:70]
