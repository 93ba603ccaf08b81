"""The example of adapters, at toy size."""

import adapters as example
import char_gpt
import pytest
import torch
from torch import nn


def small() -> example.Text:
    return example.parts_of("for token in text:\n    print(token)\n" * 60)


def test_characters_become_tokens_and_strange_ones_question_marks() -> None:
    text = example.parts_of("ab\u00e9" * 10)
    assert text.characters == 96
    tokens = torch.cat([text.train, text.validation, text.test])
    assert "".join(example.ALPHABET[token] for token in tokens) == "ab?" * 10


def test_lora_and_a_fixed_sine_have_the_same_parameters() -> None:
    counts = []
    for name in ("LoRA", "CircuitLoRA, a sine"):
        model = char_gpt.GPT(96, lambda: example.mlp(char_gpt.HIDDEN))
        example.KINDS[name](model)
        counts.append(sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad))
    sizes = ((64, 192), (64, 64), (64, 256), (256, 64))
    assert counts == [2 * 4 * sum(a + b for a, b in sizes)] * 2


def test_only_adapters_are_fitted_and_the_network_is_left_alone() -> None:
    torch.manual_seed(0)
    base = char_gpt.GPT(96, lambda: example.mlp(8))
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    result = example.run(base, example.KINDS["CircuitLoRA, a sine"], small(), seed=0, rate=1e-2, steps=3)
    assert result.test_loss < char_gpt.evaluate(base, small().test)
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())


def test_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(example, "load_texts", lambda: (small(), small()))
    monkeypatch.setattr(example, "mlp", lambda hidden: nn.Sequential(nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 64)))
    example.main(["--seeds", "1", "--tuning-seeds", "1", "--steps", "1", "--base-steps", "1", "--rates", "1e-2"])
    out = capsys.readouterr().out
    assert out.startswith("Without adapters: test loss ")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in out.splitlines()[4:]]
    assert rows == list(example.KINDS)
