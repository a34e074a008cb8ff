"""Runs too long for a page: what is stored has the form that a repeated run would write."""

import sys

import numba
import numpy as np
import pytest
from compiled import compiled_only
from numpy.random import default_rng as generator
from pages import ROOT

sys.path.insert(0, str(ROOT))
from benchmarks import adversarial, diffusing, growth, likelihoods
from benchmarks import sweeps as benchmark
from dlbook.tools.sweeps import stored
from dlbook.verification import complex_step


@pytest.mark.parametrize("name", benchmark.SWEEPS)
def test_a_sweep_says_where_it_ran(name):
    found = stored(name)["machine"]
    assert found.keys() == {"processor", "cores", "date", "commit", "changed", "python"}
    assert found["commit"]
    assert not found["changed"]


def test_an_unknown_sweep_is_refused():
    with pytest.raises(ValueError, match="name is 'gated', expected one of"):
        stored("gated")


def test_rates_are_chosen_by_another_text_and_judged_by_all_seeds(monkeypatch):
    def bits(cell, rate, seed, chosen):
        return [9.0, abs(rate - 0.02) if not chosen else seed]

    monkeypatch.setattr(benchmark, "bits", bits)
    found = benchmark.gated_text(map)
    assert found["best"] == dict.fromkeys(benchmark.CELLS, 0.02)
    assert np.array(found["held out"]["gru"])[:, 1].tolist() == [*benchmark.SEEDS]
    assert found.keys() == stored("gated-text").keys() - {"machine"}


def test_the_parts_of_the_text_follow_each_other():
    alphabet, *parts = benchmark.texts()
    whole = "".join(map(alphabet.decode, parts))
    assert whole == alphabet.decode(alphabet.encode(benchmark.data.pydocs()))


def test_units_of_tanh_are_stopped_at_the_last_batch():
    step, error = benchmark.added(0, most=50)
    assert step == 50
    assert 0.1 < error < 0.3


def test_rates_of_dates_are_chosen_by_other_lines_and_judged_by_all_seeds(monkeypatch):
    def converted(steps, peak, seed, other):
        return [steps + seed if other == 2026 else -abs(peak - 0.04)] * 6

    monkeypatch.setattr(benchmark, "converted", converted)
    found, kept = benchmark.sequence_tasks_budget(map), stored("sequence_tasks-budget")
    assert found["best"] == [0.04] * len(benchmark.STEPS)
    for steps, runs in zip(benchmark.STEPS, found["right"], strict=True):
        assert [run[0] for run in runs] == [steps + seed for seed in benchmark.SEEDS]
    assert found.keys() == kept.keys() - {"machine"}


def test_dates_are_learned_by_lines_that_grow_with_the_steps(monkeypatch):
    counts, drawn = [], benchmark.dates
    monkeypatch.setattr(
        benchmark,
        "dates",
        lambda count, *of, **how: counts.append(count) or drawn(count, *of, **how),
    )
    right = benchmark.converted(24, 0.01, 0, 2026)
    assert counts == [192, *[100] * 6]
    assert len(right) == 6
    assert max(right) < 0.1


def test_digits_are_read_by_networks_that_have_not_seen_them(monkeypatch):
    seen = []
    learn = benchmark.train

    def train(start, x, y, draw, **settings):
        seen.append(len(x))
        return learn(start, x, y, draw, **settings)

    monkeypatch.setattr(benchmark, "train", train)
    right, d = benchmark.folds(8, 1.0, epochs=1), benchmark.data.digits()
    fitted = len(d.x_train) + len(d.x_val)
    assert sum(5 * fitted - count for count in seen) == 5 * fitted
    assert len(right) == 5 and all(0.5 < share < 0.99 for share in right)


def test_shares_of_digits_stand_by_size_and_rate(monkeypatch):
    monkeypatch.setattr(benchmark, "folds", lambda hidden, rate: [hidden + rate] * 5)
    found = benchmark.backprop_digits(map)
    assert found["held out"][1] == [[64 + rate] * 5 for rate in benchmark.SPEEDS]
    assert found.keys() == stored("backprop-digits").keys() - {"machine"}


def test_each_kind_and_depth_gets_its_own_best_rate(monkeypatch):
    def fallen(what, rate, seed):
        return [9.0] * 7 + [abs(rate - benchmark.DEPTHS[what[1]][1]) + (seed < 100) * seed]

    monkeypatch.setattr(benchmark, "fallen", fallen)
    found = benchmark.architectures_depth(map)
    seconds = [rates[1] for rates in benchmark.DEPTHS.values()]
    assert found["best"] == dict.fromkeys(benchmark.BLOCKS, seconds)
    assert found["last"]["plain"][0] == [*benchmark.SEEDS]
    assert found.keys() == stored("architectures-depth").keys() - {"machine"}


def test_ways_are_chosen_by_the_digits_kept_for_that(monkeypatch):
    def misread(what, peak, seed):
        return [abs(peak - 0.012), 1.0, float(seed)]

    monkeypatch.setattr(benchmark, "misread", misread)
    found = benchmark.architectures_ways(map)
    assert found["best"] == dict.fromkeys(benchmark.WAYS, 0.012)
    assert found["moved"]["mean"] == [*range(10)]
    assert found.keys() == stored("architectures-ways").keys() - {"machine"}
    found = benchmark.architectures_stacks(map)
    assert found["wrong"].keys() == benchmark.STACKS.keys()
    assert found.keys() == stored("architectures-stacks").keys() - {"machine"}


def test_each_block_is_missed_in_turn(monkeypatch):
    def cut(kind, rate, seed):
        parts = [[seed] * 7, [1.0] * 7, [0.125] * 8] if kind.startswith("residual") else []
        return [[rate, *range(7)], *parts]

    monkeypatch.setattr(benchmark, "cut", cut)
    found = benchmark.architectures_lesions(map)
    best = stored("architectures-depth")["best"]["plain"][3]
    assert found["whole"]["plain"] == [best] * 5
    assert found["without"]["residual"] == [[*range(7)]] * 5
    assert found["lengthens"]["residual, zero"] == [[seed] * 7 for seed in benchmark.SEEDS]
    assert "plain" not in found["carried"]
    assert found.keys() == stored("architectures-lesions").keys() - {"machine"}


def test_networks_are_judged_by_digits_held_out_and_trained_on(monkeypatch):
    def unseen(what, rate, seed, epochs):
        return [seed, *[rate] * (epochs + 1)]

    monkeypatch.setattr(benchmark, "unseen", unseen)
    found, depths = benchmark.architectures_unseen(map), stored("architectures-depth")
    assert found["wrong"]["residual"] == [[*benchmark.SEEDS]] * 5
    best = depths["best"]["plain"][-1]
    assert found["loss of longer"]["plain"] == [[best] * (benchmark.LONGER + 1)] * 5
    assert found.keys() == stored("architectures-unseen").keys() - {"machine"}


def test_settings_of_vectors_are_turned_one_at_a_time(monkeypatch):
    def sorted_paragraphs(kind, setting, seed):
        if kind == "counted":
            return [setting[0] + setting[1]] * 4
        turned = [name for name, usual in benchmark.LEARNED.items() if setting[name] != usual]
        return [len(turned) + (seed - 102)] * 4

    monkeypatch.setattr(benchmark, "sorted_paragraphs", sorted_paragraphs)
    found = benchmark.embeddings_settings(map)
    assert found["learned"]["rate"][2] == [0.1, [0.0] * 4]
    assert found["learned"]["window"][0] == [1, [1.0] * 4]
    assert found["counted"][-1] == [5.0, 1.0, [6.0] * 4]
    assert found.keys() == stored("embeddings-settings").keys() - {"machine"}


def test_each_variational_network_gets_its_own_best_rate(monkeypatch):
    from benchmarks import codes

    def measured(what, rate, seed):
        if seed in codes.CHOOSING:
            return [abs(rate - 0.004)]
        return [[float(seed)], [[rate] * len(codes.MEASURES) for _ in what[2]]]

    monkeypatch.setattr(codes, "measured", measured)
    found, kept = codes.variational_digits(map), stored("variational-digits")
    assert set(found["best"].values()) == {0.004}
    assert found["bound"]["plain"] == [[float(seed)] for seed in codes.SEEDS]
    assert np.shape(found["judged"]["beta 0.5"]) == (10, 3, len(codes.MEASURES))
    assert found.keys() == kept.keys() - {"machine"}


def test_games_are_chosen_by_other_seeds_and_shown_at_one_rate_too(monkeypatch):
    def ringed(kind, rate, seed):
        return (8, 0.5) if rate == 0.002 or seed < 100 else (7, 0.5)

    monkeypatch.setattr(adversarial, "ringed", ringed)
    found = adversarial.gan_ring(map)
    assert found["best"] == dict.fromkeys(adversarial.RINGS, 0.002)
    assert found["common modes"]["minimax, lagging"] == [8] * 10
    assert found.keys() == stored("gan-ring").keys() - {"machine"}


def test_generated_digits_are_chosen_by_what_is_recognised(monkeypatch):
    def drawn(kind, rate, seed):
        return [float(seed), -abs(rate - 0.004), *range(5)]

    monkeypatch.setattr(adversarial, "digits_drawn", drawn)
    monkeypatch.setattr(adversarial, "gaussian_drawn", lambda seed: [0.0] * 7)
    found = adversarial.gan_digits(map)
    assert found["best"] == {"without": 0.004, "R1": 0.004}
    assert found["runs"]["R1"]["agree"] == [*range(10)]
    assert found.keys() == stored("gan-digits").keys() - {"machine"}


def test_denoisers_are_studied_one_after_the_other(monkeypatch):
    def studied(seed):
        errors = {how: [1.0] * 5 for how in ("ddim", "euler", "heun")}
        budgets = {how: [[float(seed), 0.5]] * 5 for how in diffusing.METHODS}
        return errors, budgets, [[0.5] * 4] * 4, [[float(seed)] * 3] * 3

    monkeypatch.setattr(diffusing, "studied", studied)
    found, kept = diffusing.diffusion_digits(map), stored("diffusion-digits")
    assert [run[0][0] for run in found["budgets"]["heun"]] == [*diffusing.SEEDS]
    assert found.keys() == kept.keys() - {"machine"}
    for name in ("errors", "budgets"):
        assert found[name].keys() == kept[name].keys()
    for name in ("guided", "copies"):
        assert np.shape(found[name]) == np.shape(kept[name])


def test_each_model_is_chosen_by_the_distance_to_validation_digits(monkeypatch):
    def compared(kind, rate, seed):
        if seed in diffusing.CHOOSING:
            return abs(rate - 0.008)
        return {kind: [rate] * len(diffusing.MEASURES)}, float(seed)

    monkeypatch.setattr(diffusing, "compared", compared)
    for name, sweep in (
        ("diffusion-models", diffusing.diffusion_models),
        ("diffusion-others", diffusing.diffusion_others),
    ):
        found, kept = sweep(map), stored(name)
        assert set(found["best"].values()) == {0.008}
        assert all(took == [*diffusing.SEEDS] for took in found["seconds"].values())
        assert all(np.shape(rows) == (10, 8) for rows in found["judged"].values())
        assert found.keys() == kept.keys() - {"machine"}
        assert found["steps"] == kept["steps"]


def test_a_sample_lies_nearer_to_what_it_is_a_copy_of():
    x, held = diffusing.digits()[0][:50], diffusing.digits("test")[0][:50]
    assert diffusing.nearer(x, x) == 1
    assert diffusing.nearer(diffusing.digits("test")[0], diffusing.digits()[0]) < 0.05
    np.testing.assert_allclose(diffusing.nearest(x, held[:1]), np.linalg.norm(x - held[0], axis=1))


def test_masks_are_learned_with_both_costs_at_each_rate(monkeypatch):
    from benchmarks import scenes

    monkeypatch.setattr(scenes, "overlap", lambda *job: job[2] + job[3])
    found = scenes.vision_dice(map)
    assert found["iou"]["dice"][1] == [found["rates"][1] + seed for seed in scenes.SEEDS]
    assert found.keys() == stored("vision-dice").keys() - {"machine"}


def test_the_cost_of_the_overlap_has_the_slope_of_its_formula(rng):
    from benchmarks.scenes import Dice

    z, y = rng.normal(size=(2, 3, 2, 2)), rng.integers(2, size=(2, 3, 2))

    def cost(z):
        p = np.exp(z[..., 1]) / np.exp(z).sum(axis=-1)
        return 1 - 2 * np.sum(p * y) / (p.sum() + y.sum())

    slope = z.copy()
    assert np.isclose(Dice().into(slope, y), cost(z))
    np.testing.assert_allclose(slope, complex_step(cost, z).reshape(z.shape), atol=1e-12)


def test_windows_are_chosen_by_another_text_and_mixed_by_weights_from_there(monkeypatch):
    from benchmarks import languages

    def measured(size, rate, seed, weights, steps=languages.STEPS):
        if weights is None:
            return [abs(rate - 0.02), *[rate] * len(languages.ORDERS)]
        return [seed + steps, *weights]

    monkeypatch.setattr(languages, "measured", measured)
    found, kept = languages.language_models_window(map), stored("language-models-window")
    assert found["best"] == [0.02] * len(languages.SIZES)
    assert found["held out"][3] == [seed + languages.STEPS for seed in languages.SEEDS]
    assert found["after longer"] == [[languages.LONGER * languages.STEPS + s for s in (0, 1)]] * 2
    assert np.all(np.array(found["mixed"]) == 0.02)
    assert found.keys() == kept.keys() - {"machine"}


def test_windows_see_what_stands_before_and_no_more():
    from benchmarks import languages

    ids, size = np.random.default_rng(0).integers(5, size=400), (4, 2, 3)
    net = languages.window_network(5, size)
    params = languages.learned(net, ids, 0.01, 0, steps=101)
    p = languages.expected(net, params, ids)
    ids[: languages.FIRST - size[0] + 1] = 0
    assert len(p) == 400 - languages.FIRST
    assert languages.expected(net, params, ids).tolist() == p.tolist()


def test_language_models_get_their_own_best_rates_in_one_table(monkeypatch):
    from benchmarks import transformers

    def measured(kind, rate, seed, seconds, last):
        assert last == (seed != transformers.CHOOSING)
        read_on = [9.0] if kind in transformers.CELLS else []
        return [abs(np.log2(rate / 0.064)) if not last else seed + seconds, *read_on, 7]

    monkeypatch.setattr(transformers, "measured", measured)
    monkeypatch.setattr(transformers, "counted", lambda order: [float(order), 2, 3.0, 4.0])
    found, kept = transformers.transformer_table(map), stored("transformer-table")
    assert set(found["best"].values()) == {0.064}
    assert [rate for rate, _ in found["tried"]["window"]][-2:] == [0.064, 0.128]  # one beyond
    assert found["held out"]["GRU"] == [seed + transformers.SECONDS for seed in transformers.SEEDS]
    assert found["read on"].keys() == transformers.CELLS.keys()
    sizes = np.array([*found["sizes"].values()])
    assert sizes.max() < 1.01 * sizes.min()
    assert found.keys() == kept.keys() - {"machine"}
    assert found["sizes"] == kept["sizes"]
    found, kept = transformers.transformer_longer(map), stored("transformer-longer")
    assert found["steps"]["RNN"] == [7] * len(transformers.LONG_SEEDS)
    assert found.keys() == kept.keys() - {"machine"}


def test_counts_are_chosen_by_the_text_for_choosing():
    from benchmarks import transformers

    held, kept, _, chosen = transformers.counted(3)
    assert kept > 10_000
    assert 2.3 < held < 2.8 and 2.3 < chosen < 2.8 and held != chosen
    V, seen, text = transformers.parts(True)
    assert len(transformers.parts(False)[1]) < len(seen)
    at = transformers.places(text)
    _, y = transformers.graded(text)
    assert np.array_equal(text[at], y[:, transformers.LENGTH // 2 :].ravel())
    assert 1 + max(seen.max(), text.max()) == V


@pytest.mark.parametrize("kind", ["window", "GRU", "transformer"])
def test_all_models_are_judged_by_the_same_symbols(kind):
    """Bits by hand, symbol by symbol, from what stands before within its line."""
    from benchmarks import transformers
    from dlbook.linear_classification import softmax

    text = transformers.parts(True)[2][:200]
    net = transformers.network(kind, transformers.parts(True)[0])
    params, found = net.init(np.random.default_rng(0)), []
    for first in range(0, len(text) - transformers.LENGTH, transformers.LENGTH // 2):
        for at in range(first + transformers.LENGTH // 2 + 1, first + transformers.LENGTH + 1):
            before = text[None, first:at] if kind != "window" else text[None, at - 10 : at]
            z = (
                net.run(params, before).scores
                if kind == "GRU"
                else net.outputs(params, None, before)
            )
            found.append(-np.log2(softmax(z.reshape(-1, z.shape[-1]))[-1, text[at]]))
    assert np.isclose(transformers.bits(net, params, text)[0], np.mean(found), atol=1e-5)


def test_a_network_learns_for_so_many_seconds(monkeypatch):
    from itertools import count

    from benchmarks import transformers

    clock = count()
    monkeypatch.setattr(transformers, "process_time", lambda: next(clock) / 4)
    V, seen, _ = transformers.parts(True)
    net = transformers.network("transformer", V)
    params, steps = transformers.learned(net, seen, 0.01, 0, 1.0)
    assert steps == 4
    assert not np.array_equal(params.flat, net.init(np.random.default_rng(0)).flat)


def test_each_depth_and_way_gets_its_own_best_rate(monkeypatch):
    from benchmarks import transformers

    def deep(what, rate, seed, last):
        assert last == (seed != transformers.CHOOSING)
        best, later = 0.002 * what[1], what[2] != transformers.RISES[what[1] == 8]
        return [float(seed) if last else abs(np.log2(rate / best)) + later, 1.0]

    monkeypatch.setattr(transformers, "deep", deep)
    found, kept = transformers.transformer_depth(map), stored("transformer-depth")
    assert found["best"]["post"] == [0.002, 0.004, 0.008, 0.016]
    assert found["rising"]["pre"] == [15, 15, 15, 100]
    assert found["held out"]["without"][2] == [float(seed) for seed in transformers.SEEDS]
    assert found.keys() == kept.keys() - {"machine"}
    assert transformers.stacked("without", 2, 5).residual is False
    assert transformers.stacked("post", 2, 5).norm == "post"


def test_copiers_get_their_own_best_rates_and_all_seeds(monkeypatch):
    from benchmarks import transformers

    short = transformers.copies("two", 0.012, 0, steps=2 * transformers.COPY_EVERY)
    assert len(short[1]) == 2 and np.shape(short[2]) == (2, 2, 2)

    def copies(kind, rate, seed):
        if seed == transformers.CHOOSING:
            return [abs(np.log2(rate / 0.003))]
        return [0.5, [float(seed)], [rate]]

    monkeypatch.setattr(transformers, "copies", copies)
    found, kept = transformers.transformer_copies(map), stored("transformer-copies")
    assert set(found["best"].values()) == {0.003}
    assert found["right"]["three"] == [[float(seed)] for seed in range(10)]
    assert found["looks"]["one"] == [[0.003]] * 10
    assert found.keys() == kept.keys() - {"machine"}
    assert found["sizes"] == kept["sizes"]


def test_the_stored_decoder_is_the_one_that_the_sweep_tells_of():
    from benchmarks import transformers
    from dlbook.tools import data

    kept, told = data.writer(), stored("transformer-text")
    net = transformers.writer(len(kept.symbols))
    assert len(kept.numbers) == net.size == told["size"]
    assert told["settings"] == transformers.WRITER
    assert data.WRITER.stat().st_size < 2_000_000
    assert round(told["bits"]["held out"], 2) == round(told["in half"], 2)


def test_bits_are_chosen_by_other_seeds_and_asked_of_all(monkeypatch):
    def scored(kind, rate, code, seed):
        return abs(rate - 0.008) if seed in likelihoods.CHOOSING else [float(seed)] * 4

    monkeypatch.setattr(likelihoods, "scored", scored)
    monkeypatch.setattr(likelihoods, "gaussians", lambda seed, mixed: [2.0, 3.0 - mixed])
    found = likelihoods.diffusion_bits(map)
    assert {kind: rate for kind, (rate, _) in found["best"].items()} == dict.fromkeys(
        likelihoods.RATES, 0.008
    )
    assert [row[0] for row in found["bits"]["flow"]] == [*likelihoods.SEEDS]
    assert found.keys() == stored("diffusion-bits").keys() - {"machine"}


def test_the_trace_along_a_flow_is_that_of_all_directions(rng):
    net = likelihoods.Denoiser((64, 5, 3, 64), target="velocity", dtype="float64")
    params = net.init(rng)
    params.flat[:] = rng.normal(size=len(params.flat)) / 3
    x, u = rng.normal(size=(2, 64)), 0.3
    waves = np.tile(
        np.hstack((np.sin(a := np.pi / 2 * u * 2.0 ** np.arange(4)), np.cos(a))), (2, 1)
    )
    said, trace = likelihoods.slopes(params, np.hstack((x, waves)))
    np.testing.assert_allclose(said, net.predict(params, None, x, u), rtol=1e-10)
    every = complex_step(lambda y: likelihoods.slopes(params, np.hstack((y, waves)))[0], x)
    own = [np.trace(every[n, :, n]) for n in range(2)]
    np.testing.assert_allclose(trace, own, rtol=1e-9)


def test_a_network_that_says_nothing_needs_the_bits_of_its_noise():
    net = likelihoods.Denoiser((64, 5, 3, 64), target="velocity")
    params = net.init(generator(0))
    params.flat[:] = 0
    x = likelihoods.held("val")[:7]
    log_p = -0.5 * np.sum((2 * x - 1.0) ** 2, axis=1) - 32 * np.log(2 * np.pi) + 64 * np.log(2)
    found = likelihoods.along((net, params), x, 3)
    assert found == pytest.approx(likelihoods.bits(log_p), rel=1e-5)


def test_real_digits_stand_in_the_place_of_samples():
    assert diffusing.diffusion_real.__doc__.startswith("Real digits")
    kept = stored("diffusion-real")
    measures, copies = diffusing.divided(0)
    np.testing.assert_allclose(measures, kept["divided"][0], atol=1e-4)
    np.testing.assert_allclose(copies, kept["copies"][0], atol=0.02)


def test_decoders_of_captions_have_their_own_rates_and_all_seeds(monkeypatch):
    """Rates are chosen by other seeds; what is judged has the form of what is stored."""
    from benchmarks import captions

    kept, judged = stored("captioning-looks"), []
    peak = {"attention": 0.008, "uniform": 0.016, "flat": 0.0005}

    def run(look, rate, seed):
        judged.append((look, rate, seed))
        more = dict.fromkeys(("where", "single", "read", "beams", "open", "wrong"), seed)
        return (
            more
            | {key: [seed] for key in ("graded", "held", "seconds", "faults")}
            | {"parameters": len(look)}
        )

    monkeypatch.setattr(captions, "chosen", lambda look, rate, seed: -abs(rate - peak[look]))
    monkeypatch.setattr(captions, "judged", run)
    found = captions.captioning_looks(map)
    assert found["best"] == peak
    assert {(look, peak[look], s) for look in peak for s in range(10)} == set(judged)
    assert found["where"] == found["searched"] == [*range(10)]
    assert found["test"]["flat"] == [[s] for s in range(10)]
    assert found.keys() == kept.keys() - {"machine"}


def test_fixed_looks_have_their_own_rate_and_all_seeds(monkeypatch):
    from benchmarks import captions

    monkeypatch.setattr(captions, "chosen", lambda look, rate, seed: -abs(rate - 0.016))
    monkeypatch.setattr(
        captions, "fixed", lambda rate, seed: {"test": [rate, seed], "parameters": 7}
    )
    found = captions.captioning_fixed(map)
    assert found["attention at a larger rate"] == [0.032, -0.016]
    assert found["test"] == [[found["best"], seed] for seed in range(10)]
    assert found["best"] == 0.016
    assert found.keys() <= stored("captioning-fixed").keys()


def test_digits_of_the_pairs_held_out_are_drawn_in_other_colours():
    from benchmarks import captions

    some = captions.others(20)
    pairs = {tuple(text.split()[1:]) for text in some.texts}
    assert len(some.x) == 20
    assert {name for _, name in pairs} == {name for _, name in captions.HELD}
    assert not pairs & set(captions.HELD)


def test_coverage_and_teaching_go_on_from_the_looks(monkeypatch):
    from benchmarks import captions

    rate = stored("captioning-looks")["best"]["attention"]
    monkeypatch.setattr(captions, "covered", lambda weight, rate, seed: [weight, rate, seed])
    found = captions.captioning_coverage(map)
    assert found["test"] == [[[w, rate, s] for s in range(5)] for w in captions.WEIGHTS]
    assert found.keys() == stored("captioning-coverage").keys() - {"machine"}
    once = lambda rate, seed, part: [-abs(rate - 0.02) if part == "val" else seed] * 7
    monkeypatch.setattr(captions, "at_once", once)
    monkeypatch.setattr(captions, "lesson_time", lambda seed: 1.0)
    found = captions.captioning_taught(map)
    assert found["best"]["at once"] == 0.02
    assert [run[0] for run in found["at once"]] == [*range(10)]
    assert found.keys() == stored("captioning-taught").keys() - {"machine"}


def test_where_a_network_looked_is_read_off_the_right_word():
    """A network that looks at one place only: in scenes where it is inside of a digit, or not."""
    from types import SimpleNamespace

    from benchmarks import captions

    some = captions.captioned("val", 30)
    for place in (7, 21):
        looks = np.zeros((*some.y.shape, 36))
        looks[:, :, place] = 1
        net = SimpleNamespace(looks=lambda *given, a=looks: a, input=(32, 6, 6))
        found = captions.where(net, SimpleNamespace(params=None, state=None), some)
        y, x = (4 * k + 2 for k in divmod(place, 6))
        named, others = [], []
        for m, boxes in zip(some.counts, some.boxes, strict=True):
            inside = [top <= y < down and left <= x < end for top, left, down, end in boxes[:m]]
            if m > 1:
                named += inside
                others += [any(inside) and not mine for mine in inside]
        assert found[:4] == [round(np.mean(part), 4) for part in (named, others) * 2]
        assert found[4] == round(1 / 9, 4)  # 4 of 36 places, wherever a digit stands


def test_what_is_said_of_single_digits_is_counted():
    """A network that reads the colour and says it, or always a blue two."""
    from types import SimpleNamespace

    from benchmarks import captions

    some = captions.captioned("val", 40, digits=(1,))
    two = captions.WORDS.index("two")

    def step(state, words):
        return np.eye(len(captions.WORDS))[np.full(len(words), two)], state

    net = SimpleNamespace(
        predict=lambda *given: np.tile(captions.captioned("val", 1, digits=(1,)).y, (40, 1)),
        stepper=lambda *given: (None, step),
    )
    said = captions.captioned("val", 1, digits=(1,))
    found = captions.named(net, SimpleNamespace(params=None), some)
    name, colour = some.labels[:, 0] == said.labels[0, 0], some.colours[:, 0] == said.colours[0, 0]
    kinds = name & colour, name & ~colour, ~name & colour, ~name & ~colour
    assert found[:4] == [round(float(k.mean()), 4) for k in kinds]
    assert found[4:] == [round(float((some.labels[:, 0] == 2).mean()), 4)] * 2


@compiled_only
@pytest.mark.parametrize("axis", growth.GROWN)
def test_what_grows_is_counted_again(axis):
    """Bytes at the smaller sizes, the same on every machine; multiply-adds are those of the formula."""
    found, most = stored("transformer-growth")["grown"][axis], numba.get_num_threads()
    sizes = [growth.USUAL | {axis: size} for size in found["sizes"]]
    assert found["sizes"] == [*growth.GROWN[axis]]
    assert found["multiply-adds"] == [growth.work_of(**some) for some in sizes]
    numba.set_num_threads(1)
    try:
        assert found["bytes"][:3] == [growth.bytes_of(**some) for some in sizes[:3]]
    finally:
        numba.set_num_threads(most)


def test_seconds_of_a_gradient_are_measured():
    assert 0 < growth.seconds_of(length=2, width=4, batch=1, blocks=1) < 1
