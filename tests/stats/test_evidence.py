"""The e-values against direct formulas, and their promise: at most 1 on average while nothing has changed."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betaln
from scipy.stats import dirichlet_multinomial, nct, norm
from scipy.stats import t as student

from monitor.stats import learned
from monitor.stats.evidence import PRIOR_WIDTH, CountModel, count_log_e, scalar_log_e
from monitor.stats.learned import count_model, scalar_model


def model_of(p, kappa, direction=0):
    p = np.asarray(p, float)
    one = np.ones(1)
    return CountModel(p, np.zeros(1, np.int64), 0 * one, kappa * one, one, one, np.array([direction]), np.inf * one)


def test_the_count_e_value_is_the_ratio_of_dirichlet_multinomial_probabilities():
    p, kappa, counts = np.array([0.5, 0.3, 0.2]), 200.0, np.array([30, 40, 12])
    a = 0.9 * p + 0.1 / 3
    null = dirichlet_multinomial(kappa * p, counts.sum()).pmf(counts)
    alternatives = [dirichlet_multinomial(r * kappa * a, counts.sum()).pmf(counts) for r in (0.1, 0.01)]
    direct = np.log(np.mean(alternatives) / null)
    assert count_log_e(model_of(p, kappa), counts.astype(float))[0] == pytest.approx(direct, rel=1e-9)


def test_signals_of_different_numbers_of_bins_are_computed_side_by_side():
    both = count_model([(np.array([50.0, 30, 20]), np.zeros((0, 3))), (np.array([90.0, 10]), np.zeros((0, 2)))])
    first = count_model([(np.array([50.0, 30, 20]), np.zeros((0, 3)))])
    second = count_model([(np.array([90.0, 10]), np.zeros((0, 2)))])
    counts = np.array([[5.0, 9, 2, 10, 10], [1.0, 0, 0, 0, 0], [0.0, 0, 0, 0, 0]])
    together = count_log_e(both, counts)
    assert np.allclose(together[:, 0], count_log_e(first, counts[:, :3])[:, 0])
    assert np.allclose(together[:, 1], count_log_e(second, counts[:, 3:])[:, 0])
    assert np.allclose(together[2], 0)


def test_a_one_sided_signal_integrates_over_larger_shares_only():
    p, kappa, counts = np.array([0.9, 0.1]), 50.0, np.array([20.0, 8.0])
    model = model_of(p, kappa, direction=1)
    a = 0.9 * p + 0.05
    parts = []
    for r in (0.1, 0.01):
        low, high = r * kappa * a

        def density(x, low=low, high=high):
            return x ** (high - 1) * (1 - x) ** (low - 1)

        up = quad(lambda x, f=density: f(x) * x**8 * (1 - x) ** 20, 0.1, 1)[0]
        parts.append(up / quad(density, 0.1, 1)[0])
    low, high = kappa * p
    null = np.exp(betaln(low + 20, high + 8) - betaln(low, high))
    assert count_log_e(model, counts)[0] == pytest.approx(np.log(np.mean(parts) / null), rel=1e-6)


def test_a_smaller_share_is_no_evidence_for_a_one_sided_signal():
    less = np.array([400.0, 0.0])
    assert (
        count_log_e(model_of([0.9, 0.1], 2000.0, 1), less)[0] < 0 < count_log_e(model_of([0.9, 0.1], 2000.0), less)[0]
    )


def test_the_scalar_e_value_is_the_ratio_of_marginal_likelihoods():
    """The direct form: both location and scale are integrated out, with and without a shift of N(0, g sigma^2)."""
    rng = np.random.default_rng(3)
    reference, since = rng.normal(size=12), rng.normal(0.8, 1, size=5)
    model = scalar_model([reference], [50.0], [0.0])
    y = (since - model.mean[0]) / model.sd[0]
    got = scalar_log_e(model, np.array([5.0]), np.array([y.sum()]), np.array([(y * y).sum()]))[0]
    x = np.concatenate([reference, since])
    late = np.concatenate([np.zeros(12), np.ones(5)])

    def log_marginal(covariance):
        inverse = np.linalg.inv(covariance)
        ones = np.ones(17)
        precision = ones @ inverse @ ones
        rest = x @ inverse @ x - (ones @ inverse @ x) ** 2 / precision
        return -0.5 * (np.linalg.slogdet(covariance)[1] + np.log(precision)) - 8 * np.log(rest)

    shift = late - late.mean()
    # Only the part of the shift that the common mean cannot take up tells the two apart.
    direct = log_marginal(np.eye(17) + 4 * np.outer(shift, shift)) - log_marginal(np.eye(17))
    assert got == pytest.approx(direct, rel=1e-6)


@pytest.mark.parametrize("spread", ["independent rows", "overdispersed windows"])
def test_the_count_e_value_is_at_most_one_on_average_while_nothing_changes(spread):
    rng = np.random.default_rng(11)
    p, draws, windows = np.array([0.4, 0.3, 0.2, 0.1]), 400, 6
    values = np.zeros((draws, windows))
    for draw in range(draws):
        shares = rng.dirichlet(p * 100, 28 + windows) if spread != "independent rows" else np.tile(p, (28 + windows, 1))
        counts = np.array([rng.multinomial(200, share) for share in shares]).astype(float)
        model = count_model([(counts[:28].sum(0), counts[:28])])
        since = np.cumsum([model.weigh(window) for window in counts[28:]], axis=0)
        values[draw] = np.exp(count_log_e(model, since)[:, 0])
    assert (values.mean(axis=0) <= 1 + 3 * values.std(axis=0) / np.sqrt(draws)).all()
    assert values.mean() < 1.2


def test_the_scalar_e_value_is_at_most_one_on_average_while_nothing_changes():
    rng = np.random.default_rng(5)
    values = []
    for _ in range(2000):
        model = scalar_model([rng.normal(10, 2, 14)], [4.0], [0.0])
        y = model.deviation(rng.normal(10, 2, (6, 1)))
        values.append(np.exp(scalar_log_e(model, np.array([6.0]), y.sum(0), (y * y).sum(0))[0]))
    assert np.mean(values) <= 1 + 3 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize("shift", [-1.0, 0.3, 1.2])
def test_a_one_sided_scalar_is_the_ratio_to_an_alternative_of_rises_alone(shift):
    """The noncentral t densities of the two-sample statistic, mixed over half-normal shifts, over the central one."""
    rng = np.random.default_rng(0)
    model = scalar_model([rng.normal(size=12)], [50.0], [0.0], direction=[1])
    y = model.deviation(rng.normal(size=(5, 1)) + shift)[:, 0]
    got = np.exp(scalar_log_e(model, np.array([5.0]), np.array([y.sum()]), np.array([(y * y).sum()]))[0])
    h, freedom = 12 * 5 / 17, 15
    t = y.mean() * np.sqrt(h * freedom / (model.squares[0] + ((y - y.mean()) ** 2).sum()))

    def part(x):
        return 2 * norm.pdf(x, 0, np.sqrt(PRIOR_WIDTH)) * nct.pdf(t, freedom, x * np.sqrt(h))

    assert got == pytest.approx(quad(part, 0, 30)[0] / student.pdf(t, freedom), rel=1e-6)


def test_a_constant_shift_of_half_the_tolerance_is_never_evidence_at_any_size():
    p = np.full(10, 0.1)
    moved = p * (1 + np.sqrt(0.005) * np.where(np.arange(10) % 2, 1, -1))
    model = count_model([(1e7 * p, np.tile(1e5 * p, (100, 1)))])
    assert all(count_log_e(model, rows * moved)[0] < 0 for rows in (1e3, 1e5, 1e7))


def test_dispersion_finds_the_variance_between_windows():
    rng = np.random.default_rng(2)
    p = np.array([0.5, 0.3, 0.2])
    plain = np.array([rng.multinomial(500, p) for _ in range(400)]).astype(float)
    bursts = plain * 8
    assert learned.dispersion(plain, p)[0] == pytest.approx(1, abs=0.1)
    assert learned.dispersion(bursts, p)[0] == pytest.approx(8, abs=0.8)
    assert learned.dispersion(plain[:1], p) == (learned.UNKNOWN_PHI, 0.0)


def test_rows_of_overdispersed_windows_count_for_fewer():
    rng = np.random.default_rng(8)
    p = np.array([0.6, 0.4])
    blocks = np.array([rng.multinomial(1000, share) for share in rng.dirichlet(p * 99, 300)]).astype(float)
    model = count_model([(blocks.sum(0), blocks)])
    assert 1 / model.inverse_k0[0] == pytest.approx(99, rel=0.25)
    assert model.weigh(np.array([600.0, 400.0])).sum() == pytest.approx(1000 * 100 / 1099, rel=0.25)


def test_slow_wander_in_the_reference_widens_the_null():
    rng = np.random.default_rng(9)
    level = 0.3 + 0.1 * np.sin(np.arange(60) / 60 * 4 * np.pi)
    slow = np.array([rng.multinomial(500, [1 - x, x]) for x in level]).astype(float)
    mixed = slow[rng.permutation(60)]
    assert count_model([(slow.sum(0), slow)]).kappa[0] < 0.5 * count_model([(mixed.sum(0), mixed)]).kappa[0]


def test_deviations_are_clipped_and_absent_values_are_no_evidence():
    model = scalar_model([np.array([1.0, 2, 3, 4, 5])], [4.0], [0.0])
    assert model.deviation(np.array([1e9]))[0] == 4
    assert np.isnan(model.deviation(np.array([np.nan]))[0])
    assert scalar_log_e(model, np.zeros(1), np.zeros(1), np.zeros(1))[0] == 0


def test_a_large_shift_gives_much_evidence_and_none_gives_little():
    reference = np.random.default_rng(1).permutation(norm.ppf((np.arange(100) + 0.5) / 100))
    model = scalar_model([reference], [6.0], [0.0])
    assert scalar_log_e(model, np.array([3.0]), np.array([9.0]), np.array([27.0]))[0] > 5
    assert scalar_log_e(model, np.array([3.0]), np.array([0.0]), np.array([1.0]))[0] < 0


def test_serial_correlation_in_the_reference_tempers_a_scalar():
    steps = np.random.default_rng(4).normal(size=60)
    walk = np.convolve(steps, 0.8 ** np.arange(20))[:60]
    assert scalar_model([walk], [4.0], [0.0]).power[0] < 0.4
    assert scalar_model([steps], [4.0], [0.0]).power[0] == 1
