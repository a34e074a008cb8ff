"""Melodies: the notation, symbols of notes, and sounds."""

import io
import wave

import numpy as np
import pytest

from dlbook.tools import data, music
from dlbook.tools.music import Note, Notes


def frequency(pitch):
    """Equal temperament, the A above middle C having 440 Hz."""
    return 440 * 2 ** ((pitch - 69) / 12)


def test_notation_by_hand():
    notes = music.melody("c c#1 db3 | b,, r4 a''8")
    assert notes == [Note(60, 2), Note(61, 1), Note(61, 3), Note(47, 2), Note(-1, 4), Note(93, 8)]
    assert music.notation(notes) == "c c#1 c#3 b,, r4 a''8"


@pytest.mark.parametrize("tune", data.tunes(), ids=lambda tune: tune.name)
def test_every_tune_can_be_read(tune):
    notes = music.melody(tune.notes, tune.eighths)
    assert music.melody(music.notation(notes)) == notes
    symbols = Notes().encode(notes)
    assert Notes().decode(symbols) == notes and symbols.max() < len(Notes())
    for key in range(-5, 7):
        there = music.transposed(notes, key)
        assert Notes().decode(Notes().encode(there)) == there
        assert music.transposed(there, -key) == notes
    assert tune.about and {p % 12 for p, _ in notes if p > 0} <= {0, 2, 4, 5, 7, 9, 11}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: music.melody("c d | e x2 | f"), "bar 2 holds 'x2'"),
        (lambda: music.melody("c d0"), "bar 1 holds 'd0'"),
        (lambda: music.melody("c4 c4 | c c | c4 c4", 8), "bar 2 has 4 eighths, expected 8"),
        (lambda: music.melody("c8 c | c8", 8), "bar 1 has 10 eighths"),
        (lambda: music.melody("c || d"), "bar 2 is empty"),
        (lambda: music.melody("  "), "expected notes"),
        (lambda: Notes().encode([Note(20, 2)]), "note 0 has the pitch 20"),
        (lambda: Notes().encode([Note(60, 9)]), "note 0 has 9 eighths"),
        (lambda: Notes().decode([200]), "symbols holds the label 200"),
        (lambda: music.play(np.zeros(9), alt="", title="x"), "alt is ''"),
        (lambda: music.sound([Note(60, 2)], frequency, tempo=0), "tempo is 0"),
    ],
)
def test_what_is_wrong_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_symbols_without_a_partner_are_left_out():
    notes = Notes()
    pitch, length = notes.encode([Note(60, 2)])[1:3].tolist()
    assert notes.decode([length, pitch, pitch, length, pitch, 0, pitch, length]) == [Note(60, 2)]


@pytest.mark.parametrize("pitch", [57, 60, 69, 76])
def test_a_tone_has_its_frequency(pitch):
    """The largest peak of the spectrum, to half a step of it."""
    rate, notes = 8000, [Note(pitch, 8)]
    samples = music.sound(notes, frequency, rate=rate)
    power = np.abs(np.fft.rfft(samples))
    found = np.fft.rfftfreq(len(samples), 1 / rate)[np.argmax(power)]
    assert abs(found - frequency(pitch)) < rate / len(samples)
    assert np.abs(samples).max() == pytest.approx(0.8)


def test_a_file_of_sound():
    samples = music.sound(music.melody("c4 r4 e4"), frequency, rate=4000, tempo=120)
    with wave.open(io.BytesIO(music.wav(samples, 4000))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 4000)
        read = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    assert len(read) == len(samples) == 4000 // 20 + 3 * 4000
    np.testing.assert_allclose(read, samples, atol=1e-4)
    assert np.abs(read[4300:8100]).max() == 0  # the rest is silent


def test_sound_outside_of_a_page(capsys):
    music.play(np.zeros(9), alt="nothing is heard", title="silence")
    assert capsys.readouterr().out == "sound: nothing is heard\n"
