"""KArAttention: multi-head attention whose softmax is replaced by learned Fourier edges (Fourier-KArAt).

arXiv 2503.10632. A row A_k of N scores becomes a row of N weights W phi(A_k): phi: R^N -> R^r is a Kolmogorov-Arnold
layer of Fourier edges, phi_q(x) = sum_p sum_m [ a_pqm cos(m x_p) + b_pqm sin(m x_p) ], and W is (N, r).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qkan.kernels.common.tensors import check_readable
from qkan.layers.init import uniform_
from qkan.layers.kan_layer import KANLayer
from qkan.layers.options import check_input, positive_int

#: r and the number of frequencies, unless told otherwise.
RANK, FREQUENCIES = 12, 3


class AttentionOperator(nn.Module):
    r"""What stands in the place of the softmax: for each head, rows of N scores to rows of N weights, W phi(a).

    Rows are neither positive nor do they sum to 1: nothing normalises them. No row depends on another one, nor on the
    rest of the batch. An edge knows which key it belongs to, so the operator does not commute with a permutation of the
    tokens, and it is periodic in the scores.

    Shapes: input and output (num_heads, ..., num_tokens). Parameters: ``edges``, a :class:`qkan.KANLayer` from
    num_tokens to ``rank`` for each head; ``mixing`` (num_heads, rank, num_tokens), the transposed W.

    Args:
        num_tokens: N, the class token and its like included.
        num_heads: heads, each with edges of its own.
        rank: r, outputs of phi.
        frequencies: the edges are sums of cos and sin of x, ..., ``frequencies`` x.
        generator: source of the initial values; None takes torch's default one.
        device, dtype: of the parameters.

    Raises:
        ValueError, TypeError: a size outside its range.

    Examples:
        >>> import torch
        >>> from qkan import AttentionOperator, KArAttention
        >>> operator = AttentionOperator(num_tokens=17, num_heads=4)
        >>> blocks = torch.nn.Sequential(*(KArAttention(32, 4, operator=operator) for _ in range(2)))
        >>> blocks(torch.rand(2, 17, 32)).shape
        torch.Size([2, 17, 32])
    """

    def __init__(
        self,
        num_tokens: int,
        num_heads: int = 8,
        rank: int = RANK,
        frequencies: int = FREQUENCIES,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_tokens, self.num_heads = positive_int("num_tokens", num_tokens), positive_int("num_heads", num_heads)
        self.rank, self.frequencies = positive_int("rank", rank), positive_int("frequencies", frequencies, 256)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.edges = nn.ModuleList(
            KANLayer(num_tokens, rank, "fourier", terms=2 * frequencies, bias=False, **factory)
            for _ in range(num_heads)
        )
        self.mixing = nn.Parameter(torch.empty(num_heads, rank, num_tokens, **factory))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        edges: Any
        for edges in self.edges:
            edges.reset_parameters(generator)
        uniform_(self.mixing, math.sqrt(3 / (self.rank * self.num_tokens)), generator)

    def hidden(self, scores: Tensor) -> Tensor:
        """phi of scores (num_heads, ..., num_tokens): (num_heads, ..., rank)."""
        return torch.stack([edges(of_head) for edges, of_head in zip(self.edges, scores, strict=True)])

    def forward(self, scores: Tensor) -> Tensor:
        """Weights from scores, both (num_heads, ..., num_tokens)."""
        return torch.einsum("h...r,hrn->h...n", self.hidden(scores), self.mixing)


class KArAttention(nn.Module):
    """Multi-head self-attention with an :class:`AttentionOperator` in the place of the softmax.

    Takes the arguments of timm's ``Attention``, so ``attn_layer=KArAttention.configured(num_tokens=197)`` puts it into
    a timm model. With ``num_tokens`` every block learns an operator (*blockwise*); blocks that are given one operator
    learn it together (*shared*).

    The weights W phi(A) of a head have rank r, so they are never formed: phi(A) times the r x d matrix of W and the
    values is the same, unless dropout acts on them.

    Args:
        dim: size of the tokens, in and out.
        num_heads: heads; they divide ``dim``.
        qkv_bias, proj_bias: whether the linear maps in front and behind have a bias.
        qk_norm: normalise queries and keys of a head, by ``norm_layer``.
        scale_norm: normalise the heads' outputs in front of the last linear map.
        attn_drop, proj_drop: dropout probabilities of the weights and of the output.
        norm_layer: a function from a size to a module; None takes nn.LayerNorm.
        num_tokens: how many tokens inputs have, the class token and its like included.
        rank, frequencies: of the operator.
        operator: an operator that other blocks have, too, in place of ``num_tokens``, ``rank`` and ``frequencies``.
        device, dtype: of the parameters.

    Raises:
        ValueError, TypeError: a size outside its range, or not exactly one of ``num_tokens`` and ``operator``.

    Examples:
        >>> import torch
        >>> from qkan import KArAttention
        >>> attention = KArAttention(32, num_heads=4, num_tokens=17)
        >>> attention(torch.rand(2, 17, 32)).shape, attention.weights(torch.rand(2, 17, 32)).shape
        (torch.Size([2, 17, 32]), torch.Size([2, 4, 17, 17]))
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        qkv_bias: bool = False,
        qk_norm: bool = False,
        scale_norm: bool = False,
        proj_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        norm_layer: Callable[..., nn.Module] | None = None,
        *,
        num_tokens: int | None = None,
        rank: int = RANK,
        frequencies: int = FREQUENCIES,
        operator: AttentionOperator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.dim, self.num_heads = positive_int("dim", dim), positive_int("num_heads", num_heads)
        if dim % num_heads:
            raise ValueError(f"num_heads {num_heads} does not divide dim {dim}; use a number that does")
        if (num_tokens is None) == (operator is None):
            raise ValueError(
                f"give either num_tokens (got {num_tokens}), for edges of this block alone, or operator, for edges "
                "that blocks share"
            )
        if operator is None:
            tokens: Any = num_tokens
            operator = AttentionOperator(tokens, num_heads, rank, frequencies, device=device, dtype=dtype)
        if not isinstance(operator, AttentionOperator):
            raise TypeError(f"operator must be a qkan.AttentionOperator, got {type(operator).__name__}")
        if operator.num_heads != num_heads:
            raise ValueError(
                f"the operator has {operator.num_heads} heads, but num_heads is {num_heads}; make them the same"
            )
        self.head_dim = dim // num_heads
        self.scale = self.head_dim**-0.5

        def norm(size: int, wanted: bool) -> nn.Module:
            made = (nn.LayerNorm if norm_layer is None else norm_layer)(size) if wanted else nn.Identity()
            return made.to(device=device, dtype=dtype)

        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias, device=device, dtype=dtype)
        self.q_norm, self.k_norm = norm(self.head_dim, qk_norm), norm(self.head_dim, qk_norm)
        self.operator = operator
        self.attn_drop = nn.Dropout(attn_drop)
        self.norm = norm(dim, scale_norm)
        self.proj = nn.Linear(dim, dim, bias=proj_bias, device=device, dtype=dtype)
        self.proj_drop = nn.Dropout(proj_drop)

    @classmethod
    def configured(cls, **options: Any) -> type[KArAttention]:
        """A class that builds this attention with ``options``, for what asks for a class, as timm does."""

        def build(_: type, *arguments: Any, **given: Any) -> KArAttention:
            return cls(*arguments, **{**options, **given})  # no object of the new class, which pickle could not find

        made: Any = type(cls.__name__, (cls,), {"__new__": build})
        return made

    def _scores_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(heads, batch, tokens, tokens) and (heads, batch, tokens, head size)."""
        check_input(x, self.dim, type(self).__name__)
        tokens = self.operator.num_tokens
        if x.dim() != 3 or x.shape[1] != tokens:
            raise ValueError(
                f"{type(self).__name__} is built for {tokens} tokens, so it needs (batch, {tokens}, {self.dim}), got "
                f"{tuple(x.shape)}; build it with the num_tokens of your inputs, class tokens included"
            )
        qkv = self.qkv(x).view(*x.shape[:2], 3, self.num_heads, self.head_dim).permute(2, 3, 0, 1, 4)
        q, k, v = qkv.unbind(0)
        return (self.q_norm(q) * self.scale) @ self.k_norm(k).mT, v

    def weights(self, x: Tensor) -> Tensor:
        """What every token takes from every other one, (batch, heads, tokens, tokens), without dropout."""
        return self.operator(self._scores_and_values(x)[0]).transpose(0, 1)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Apply the attention to ``x`` (batch, tokens, dim), of the number of tokens that it was built for.

        Raises:
            ValueError: another shape, or a mask, which the operator has no place for: timm passes None and False.
            TypeError: an input that is not floating point.
        """
        if attn_mask is not None or is_causal:
            raise ValueError(
                f"{type(self).__name__} takes no mask: its edges read the scores of all tokens, and a score of -inf "
                "has no cosine; leave masked tokens out, or use an attention with a softmax"
            )
        check_readable(*self.parameters())
        scores, v = self._scores_and_values(x)
        if self.attn_drop.p and self.training:
            y = self.attn_drop(self.operator(scores)) @ v
        else:
            hidden = self.operator.hidden(scores)
            y = hidden @ (self.operator.mixing.to(v.dtype).unsqueeze(1) @ v)
        return self.proj_drop(self.proj(self.norm(y.permute(1, 2, 0, 3).reshape(x.shape))))
