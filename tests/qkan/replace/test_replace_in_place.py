"""What a module changes in place is no part of an MLP within it."""

import pytest
import torch
from torch import nn

from qkan import replace_mlp


class Net(nn.Module):
    """Two maps, an activation, and whatever is done with the output."""

    def __init__(self, behind, activation: nn.Module, pixels: bool) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1)) if pixels else (nn.Linear(8, 16), nn.Linear(16, 8))
        self.activation, self.behind = activation, behind

    def forward(self, x):
        return self.behind(self.b(self.activation(self.a(x))), x)


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize(
    "behind",
    [lambda y, x: y.add_(x), lambda y, x: y.relu_(), lambda y, x: y.mul_(2)],
    ids=["residual", "relu", "scale"],
)
def test_what_is_done_in_place_behind_two_maps_is_not_replaced(behind, pixels) -> None:
    with pytest.raises(ValueError, match="found no MLP blocks"):
        replace_mlp(nn.Sequential(Net(behind, nn.ReLU(), pixels)))


@pytest.mark.parametrize("pixels", [False, True])
def test_an_activation_in_place_between_them_is(pixels) -> None:
    model = nn.Sequential(Net(lambda y, x: y, nn.ReLU(inplace=True), pixels))
    replace_mlp(model)
    assert type(model[0]).__name__ == "HQKAN"


def test_a_norm_that_is_still_the_identity_is_not_part_of_a_block() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 8)
            self.scale = nn.Identity()
            self.scale.weight = nn.Parameter(torch.ones(8))

        def forward(self, x):
            return self.scale(self.b(torch.relu(self.a(x))))

    with pytest.raises(ValueError, match="found no MLP blocks"):
        replace_mlp(nn.Sequential(Normed()))
