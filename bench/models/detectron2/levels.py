"""Mask2Former of transformers with any number of maps of features that its queries look at.

transformers has three, as the paper does. The networks of RbA have one decoder layer and one map, the coarsest: the
others join in the pyramid that makes the features of masks.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from transformers import Mask2FormerForUniversalSegmentation
from transformers.models.mask2former import modeling_mask2former as theirs


class Mask2FormerWithLevels(Mask2FormerForUniversalSegmentation):  # type: ignore[misc] # it has no types
    """Mask2Former whose configuration says ``feature_levels``, from 1 to 3.

    The layers are those of Cheng et al., arXiv:2112.01527, section 3.2; their names are the same for every number.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        levels = int(getattr(config, "feature_levels", 3))
        pixels, queries = self.model.pixel_level_module.decoder, self.model.transformer_module
        if levels != pixels.num_feature_levels:
            _look_at(levels, pixels, queries, config)


def _look_at(levels: int, pixels: Any, queries: Any, config: Any) -> None:
    """Make the layers that differ anew."""
    channels, width = pixels.feature_channels, config.feature_size
    pixels.num_feature_levels = queries.num_feature_levels = queries.decoder.num_feature_levels = levels
    pixels.transformer_feature_strides = config.feature_strides[-levels:]
    pixels.level_embed = nn.Parameter(pixels.level_embed.new_empty(levels, width))
    pixels.input_projections = nn.ModuleList(
        nn.Sequential(nn.Conv2d(inputs, width, 1), nn.GroupNorm(32, width)) for inputs in channels[::-1][:levels]
    )
    for layer in pixels.encoder.layers:
        layer.self_attn = theirs.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention(
            embed_dim=width, num_heads=config.num_attention_heads, n_levels=levels, n_points=layer.self_attn.n_points
        )
    pixels.num_fpn_levels = int(math.log2(config.feature_strides[-levels] / config.common_stride))
    for number in range(1, len(channels) + 1):  # those that transformers has made
        for name in (f"adapter_{number}", f"layer_{number}"):
            pixels._modules.pop(name, None)
    laterals, outputs = [], []
    for number, inputs in enumerate(channels[: pixels.num_fpn_levels], 1):
        lateral = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.GroupNorm(32, width))
        output = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(32, width), nn.ReLU())
        pixels.add_module(f"adapter_{number}", lateral)
        pixels.add_module(f"layer_{number}", output)
        laterals.append(lateral)
        outputs.append(output)
    pixels.lateral_convolutions, pixels.output_convolutions = laterals[::-1], outputs[::-1]
    queries.level_embed = nn.Embedding(levels, config.hidden_dim)
    queries.input_projections = nn.ModuleList(list(queries.input_projections)[:levels])
