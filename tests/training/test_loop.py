"""The loop on fakes: nothing compiles across stage boundaries; resuming and devices change no bit."""

import jax
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.devices import first, gathered, on_each
from zero1a_jax.errors import NoFace
from zero1a_jax.training import dataset_update, loop, programs, rounds, setup
from zero1a_jax.training.programs import Programs
from zero1a_jax.training.progress import Progress, start


class Quiet:
    def __init__(self):
        self.lines, self.steps = [], {}

    def say(self, text):
        self.lines.append(text)

    def began(self, step):
        self.start = step

    def step(self, step, values):
        self.steps[step] = values

    def image(self, name, image, step):
        assert image.dtype == np.uint8


class Compilations:
    """Counts what XLA compiles while it is open."""

    def __init__(self):
        self.names, self.open = [], False
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, name, _seconds, **kwargs):
        if self.open and name == "/jax/core/compile/backend_compile_duration":
            self.names.append(kwargs.get("fun_name", name))


def run(
    fakes,
    config,
    parts=None,
    *,
    devices=1,
    before=lambda _: None,
    progress=None,
    stop=lambda: False,
    keep=None,
    told=lambda made: None,
):
    made = setup.build(config, parts or fakes.fake_parts(), jax.local_devices()[:devices])
    compiled = Programs(made)
    saved, log = {}, Quiet()
    if progress is None:
        progress = start(made)
        dataset_update.first_fill(made, compiled, progress, told=told)
    else:
        progress = Progress.from_arrays(progress, made.devices)
    if keep is not None:
        keep.append(progress)

    def save(step):
        saved[step] = jax.tree.map(np.array, progress.arrays())

    loop.train(made, compiled, progress, log, save=save, stop=stop, before=before, told=told)
    return progress, saved, log


def different(one, other):
    """Which arrays of two runs' progress differ."""
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(one.arrays()), jax.tree.leaves(other.arrays()), strict=True
    )
    return [jax.tree_util.keystr(path) for (path, a), b in pairs if np.asarray(a).tobytes() != b.tobytes()]


@pytest.fixture(scope="module")
def whole(fakes):
    """One uninterrupted run, with the compilations after its first dataset update and avatar step."""
    counter = Compilations()
    config = fakes.small_config()
    update = config.refresh.update_every

    def before(step):
        counter.open = step > update

    result = run(fakes, config, before=before)
    counter.open = False
    return (*result, counter)


def test_nothing_compiles_across_the_stages(whole, fakes):
    progress, _, log, counter = whole
    config = fakes.small_config()
    # The run crosses every boundary, and density control.
    assert max(symgen.boundaries(config.curriculum, 10**6)) < config.update.steps
    assert config.density.density_start < 0.75 * config.update.steps
    assert counter.names == []
    assert not any("overflow" in line for line in log.lines)
    assert progress.dataset.round[symgen.PORTRAIT] == 1


def test_a_second_run_in_a_process_compiles_nothing(fakes):
    parts, counter = fakes.fake_parts(), Compilations()
    for seed in (1, 2):
        counter.open = seed == 2
        config = fakes.small_config(seed=seed)
        made = setup.build(config, parts, jax.local_devices()[:1])
        loop.train(made, Programs(made), start(made), Quiet(), save=lambda step: None, stop=lambda: False)
    counter.open = False
    assert counter.names == []


def test_the_counter_sees_a_compilation():
    counter = Compilations()
    counter.open = True
    jax.jit(lambda x: x * 3.25 + 1.5)(np.ones(7, np.float32))
    counter.open = False
    assert counter.names != []


def test_stages_join_in_turn(whole):
    progress, _, _, _ = whole
    stage, count = progress.dataset.stage, progress.dataset.round
    assert (count[stage == symgen.SPATIAL] >= 1).all()
    assert count[stage == symgen.SYNTHETIC].sum() >= 1
    assert count[stage == symgen.REAL].sum() >= 1


def test_the_avatar_learns(whole):
    _, _, log, _ = whole
    losses = [values["loss"] for _, values in sorted(log.steps.items())]
    assert losses[-1] < 0.8 * losses[0]


def test_resumed_run_has_the_same_bits(whole, fakes):
    progress, saved, _, _ = whole
    resumed, _, _ = run(fakes, fakes.small_config(), progress=saved[8], devices=4)
    assert different(progress, resumed) == []


def test_two_devices_make_the_same_bits(whole, fakes):
    """A batch of 3 and updates of 2 samples: shares are uneven, and padded."""
    progress, _, log, _ = whole
    updates = []
    other, _, said = run(fakes, fakes.small_config(), devices=2, told=updates.append)
    assert different(progress, other) == []
    assert log.steps == said.steps
    assert [made[0].step for made in updates] == [0, 3, 6, 9, 12]
    assert [len(made) for made in updates] == [3, 2, 2, 2, 2]  # samples of an update, padding left out
    last = {made.slot: made for update in updates for made in update}
    for slot, made in last.items():
        assert made.reason == symgen.ACCEPTED and made.round == progress.dataset.round[slot]
        np.testing.assert_array_equal(made.made, rounds.small(progress.dataset.rgb[slot]))
        assert np.ptp(made.rendered) > 0  # the avatar's, though the refresh takes its buffer


def test_bits_are_those_of_the_order(fakes, monkeypatch):
    """What the test above would see if gradients were added in another order, or by plain sums."""

    def by_device(count, devices):
        gather = gathered(2 * len(devices), devices)
        wrong = [k for d in range(len(devices)) for k in range(d, 2 * len(devices), len(devices))][:count]
        pick = on_each(lambda tree: jax.tree.map(lambda leaf: leaf[np.array(wrong)], tree), devices)
        return lambda made: pick(gather(made))

    def progress(devices, sums="auto"):
        config = fakes.small_config(steps=2, method="portrait_only", density_every=0, sums=sums)
        return run(fakes, config, devices=devices)[0]

    expected = progress(1)
    assert different(expected, progress(2)) == []
    assert different(expected, progress(2, "fast")) != []
    monkeypatch.setattr(programs, "gathered", by_device)
    assert different(expected, progress(2)) != []


def test_gathered_gradients_have_a_limit(fakes):
    head = fakes.sphere_head()
    slots = int(1.5 * len(head.faces))
    assert programs.gathered_bytes(fakes.small_config(), head) == 3 * 4 * slots * (14 + 3)
    fits = 10**9 // (4 * slots * (14 + 3))
    for batch, sums, ordered in (
        (fits, "auto", True),
        (fits + 1, "auto", False),
        (fits + 1, "ordered", True),
    ):
        assert programs.ordered_sums(fakes.small_config(batch=batch, sums=sums), head) == ordered


def test_stop_saves_and_returns(fakes):
    calls = []
    _, saved, _ = run(fakes, fakes.small_config(), stop=lambda: calls.append(0) or len(calls) == 2)
    assert list(saved) == [2]


def test_overflow_discards_the_step_and_grows(fakes):
    living = len(fakes.sphere_head().faces)
    parts = fakes.fake_parts(suggest_capacity=lambda *args, **options: living - 1)
    config = fakes.small_config(steps=2, method="portrait_only", density_every=0)
    progress, _, log = run(fakes, config, parts)
    assert sum("overflowed" in line for line in log.lines) == 1
    assert progress.capacity == 2 * (living - 1)
    assert int(first(progress.state.step)) == 2


def test_trouble_on_the_device_comes_back_as_data(fakes):
    """Blank samples are quarantined; updates that are not finite are skipped, counted, and end the run."""
    diffusion = fakes.fake_diffusion()
    blank = diffusion._replace(decode=lambda params, latents: diffusion.decode(params, latents) * 0 + 0.5)
    parts = fakes.fake_parts(diffusion=blank, perceptual=lambda a, b: a.sum() * np.nan)
    kept, updates = [], []
    with pytest.raises(loop.GivenUp, match="step 4: 5 updates were not finite"):
        config = fakes.small_config(max_skipped=5, density_every=0)
        run(fakes, config, parts, keep=kept, told=updates.extend)
    progress = kept[0]
    assert {made.reason for made in updates} == {symgen.BLANK} and len(updates) == 5
    made = ~progress.dataset.frozen
    assert progress.skipped == 5 and progress.rejected == 5  # 3 at the first fill, 2 at step 3
    assert (progress.dataset.round[made] == 0).all()
    assert set(progress.dataset.reject_reason[made]) == {symgen.ACCEPTED, symgen.BLANK}
    assert int(first(progress.state.step)) == 5


@pytest.mark.parametrize(
    "changes", [{"method": "one_time"}, {"method": "portrait_only"}, {"inversion": False}], ids=str
)
def test_ablations_are_values_of_the_same_loop(fakes, changes):
    progress, _, _ = run(fakes, fakes.small_config(steps=4, density_every=0, **changes))
    stage, rounds = progress.dataset.stage, progress.dataset.round
    if changes.get("method") == "one_time":
        assert (rounds == 1).all()
    elif changes.get("method") == "portrait_only":
        assert rounds.sum() == 1
    else:
        assert (rounds[stage == symgen.SPATIAL] > 0).all() and (rounds[stage > symgen.SPATIAL] == 0).all()


def test_detected_landmarks_replace_the_meshs(fakes):
    class Face:
        def lookup(self, ids):
            known = np.arange(len(ids)) < 5
            return np.full((len(ids), 2), 7.0, np.float32), known

    def detector(frame):
        if frame.max() < 10:
            raise NoFace("No face")
        return Face()

    made = setup.build(fakes.small_config(), fakes.fake_parts(detector=detector), jax.local_devices()[:1])
    frames = np.ones((2, 3, fakes.SIZE, fakes.SIZE, 3), np.float32)
    frames[1, 2] = 0.0
    points, lost = dataset_update.detected(made, frames, np.zeros((2, 3, 119, 2), np.float32))
    assert lost.tolist() == [False, True]
    assert (points[0, :, :5] == 7.0).all() and (points[0, :, 5:] == 0.0).all()


def test_the_portrait_outranks_what_is_generated(fakes):
    """Where the portrait saw the sphere, the dataset shows its colours and not the diffusion's."""
    diffusion = fakes.fake_diffusion()
    grey = diffusion._replace(decode=lambda params, latents: diffusion.decode(params, latents) * 0.2 + 0.1)
    shown = []
    for wins in (False, True):
        config = fakes.small_config(steps=1, density_every=0, portrait_outranks=wins)
        progress, _, _ = run(fakes, config, fakes.fake_parts(diffusion=grey))
        shown.append(progress.dataset)
    portrait = fakes.disc_portrait(fakes.sphere_head())
    frontal = np.abs(np.stack([d.rgb[1, 0] / 255.0 - portrait.rgb for d in shown])).mean(-1)
    middle = np.s_[12:20, 12:20]  # the sphere's front in the first frame of the first sample
    assert frontal[1][middle].mean() < 0.1 < 0.25 < frontal[0][middle].mean()


def test_the_truth_teaches(fakes, monkeypatch):
    """--teacher=truth: frames come from the person's own renderer, at the run's views and expressions."""
    from zero1a_jax.training import setup, truth_frames

    head = fakes.sphere_head()
    monkeypatch.setattr(
        truth_frames.synthetic_portrait, "person", lambda seed: (np.full(4, 0.1, np.float32), None)
    )
    calls = []

    def render(model, look, flame, camera):
        calls.append(np.asarray(flame.shape))
        frames = len(flame.jaw)
        return np.full((frames, fakes.SIZE, fakes.SIZE, 3), 0.3), np.ones((frames, fakes.SIZE, fakes.SIZE))

    monkeypatch.setattr(truth_frames, "_render", render)
    config = fakes.small_config(steps=1, density_every=0, teacher="truth")
    progress, _, _ = run(fakes, config, fakes.fake_parts(model=head))
    made = progress.dataset.round[1:] > 0
    assert made.any() and (progress.dataset.rgb[1:][made] == round(0.3 * 255)).all()
    assert calls and all((shape == np.float32(0.1)).all() for shape in calls)
    assert not progress.dataset.flame.shape.any()  # the avatar stands on its own head
    assert setup.build(config, fakes.fake_parts(model=head), jax.local_devices()[:1]).truth is not None
