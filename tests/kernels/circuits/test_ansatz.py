"""Ansätze as data: what they refuse, and the rotations they compile to."""

import copy

import pytest

from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz, Rotation, get_ansatz


def test_pz_program_merges_encoding_and_next_rz() -> None:
    assert ANSATZE["pz"].program(1) == (
        Rotation(2, thetas=((0, 0),)),
        Rotation(1, thetas=((0, 1),)),
        Rotation(2, thetas=((1, 0),), encodings=(0,)),
        Rotation(1, thetas=((1, 1),)),
    )


def test_turns_about_z_before_the_measurement_are_left_out() -> None:
    # px ends with RZ, which <Z> cannot see.
    assert ANSATZE["px"].program(1) == (Rotation(2, thetas=((0, 0),)), Rotation(0, encodings=(0,)))


def test_encodings_side_by_side_become_one_rotation() -> None:
    ansatz = Ansatz("stacked", ("rz",), "rz", ("ry",))
    middle = ansatz.program(2)[0]
    assert middle == Rotation(2, thetas=((0, 0), (1, 0)), encodings=(0, 1))


@pytest.mark.parametrize(
    ("name", "reps", "rows", "angles"),
    [("pz", 3, 4, 2), ("rpz", 3, 4, 1), ("px", 2, 3, 1), ("real", 3, 3, 1), ("mix", 1, 2, 2)],
)
def test_shape_of_theta(name: str, reps: int, rows: int, angles: int) -> None:
    assert (ANSATZE[name].rows(reps), ANSATZE[name].angles) == (rows, angles)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"block": ("rq",)}, "unknown gate 'rq' in block"),
        ({"block": ("ry",), "final": ("h",)}, "unknown gate 'h' in final"),
        ({"block": ("x",)}, "needs at least one trained gate"),
        ({"block": ("ry",), "encoding": "z"}, "encoding 'z' must be one of rx, ry, rz"),
        ({"block": ("ry",), "encoding_map": "log"}, "encoding_map 'log' must be identity or acos"),
        ({"block": ("ry",), "initial": (1.0, 1.0, 0.0)}, "must be a Bloch vector of length 1"),
        ({"block": ("ry",), "final": ("ry", "rz")}, "final has 2 trained gates; it must have none or 1"),
        ({"block": ("ry", "rz"), "near_linear": (0.0,)}, "near_linear must hold 2 angles"),
        ({"block": ("ry",), "slope": 1}, "slope 1 must be a column of theta, 0 to 0"),
    ],
)
def test_an_ansatz_checks_itself(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ansatz("mine", **fields)


@pytest.mark.parametrize("reps", [0, -1, 1025])
def test_reps_out_of_range(reps: int) -> None:
    with pytest.raises(ValueError, match=rf"reps {reps} is outside \[1, 1024\]"):
        ANSATZE["pz"].program(reps)


@pytest.mark.parametrize("reps", [2.0, True, "3"])
def test_reps_of_another_type(reps: object) -> None:
    with pytest.raises(TypeError, match="reps must be an int"):
        ANSATZE["pz"].program(reps)  # type: ignore[arg-type]


def test_get_ansatz_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown ansatz 'zz'; use one of pz, rpz, px, real, mix"):
        get_ansatz("zz")
    with pytest.raises(TypeError, match="ansatz must be a name or an Ansatz, got int"):
        get_ansatz(3)  # type: ignore[arg-type]


def test_an_ansatz_compares_by_its_fields_and_copies() -> None:
    mine = Ansatz("pz", ("rz", "ry"), "rz", ("rz", "ry"), near_linear=ANSATZE["pz"].near_linear, slope=1)
    mine.program(3)
    assert mine == ANSATZE["pz"] == copy.deepcopy(mine)
    assert get_ansatz(mine) is mine


def test_lists_of_gates_and_angles_become_tuples() -> None:
    listed = Ansatz("pz", ["rz", "ry"], "rz", ["rz", "ry"], near_linear=[1, 0])  # type: ignore[arg-type]
    assert (listed.block, listed.near_linear) == (("rz", "ry"), (1.0, 0.0))
    assert hash(listed) == hash(Ansatz("pz", ("rz", "ry"), "rz", ("rz", "ry"), near_linear=(1.0, 0.0)))
