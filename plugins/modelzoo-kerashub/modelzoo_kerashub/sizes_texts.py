"""Small values for backbones with text, sound or several inputs, where names do not say them."""

from __future__ import annotations

__all__ = ["TEXTS"]

_VIT = {
    "image_shape": [32, 32, 3],
    "patch_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 32,
    "intermediate_dim": 64,
}
_TEXT = {
    "vocabulary_size": 128,
    "embedding_dim": 32,
    "hidden_dim": 32,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_dim": 64,
    "max_sequence_length": 16,
}


def _towers(prefix: str) -> dict:
    """Two encoders that meet in one space: CLIP and its kin."""
    return {
        "vision_encoder": {"class": f"{prefix}VisionEncoder", **_VIT},
        "text_encoder": {"class": f"{prefix}TextEncoder", **_TEXT},
    }


def _t5gemma(**more: object) -> dict:
    values: dict = {"vocabulary_size": 128, "query_pre_attn_scalar": 8.0}
    for side in ("encoder", "decoder"):
        values |= {
            f"{side}_hidden_dim": 32,
            f"{side}_intermediate_dim": 64,
            f"{side}_num_layers": 2,
            f"{side}_num_attention_heads": 4,
            f"{side}_num_key_value_heads": 2,
            f"{side}_head_dim": 8,
            f"{side}_layer_types": ["sliding_attention", "full_attention"],
        }
    return {**values, "sliding_window": 8, **more}


_LINEAR_ATTENTION = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "head_dim": 16,
}
_SAM3 = {"hidden_dim": 32, "num_heads": 2}
_SAM3_LAYERS = {**_SAM3, "num_layers": 1, "intermediate_dim": 64}

TEXTS: dict[str, dict] = {
    "BLIP2Backbone": {
        "vision_encoder": {
            "class": "BLIP2VisionEncoder",
            "image_size": 32,
            "patch_size": 8,
            "num_layers": 1,
            "num_heads": 2,
            "hidden_dim": 32,
            "intermediate_dim": 64,
            "use_patch_bias": True,
            "use_class_token": True,
            "use_mha_bias": True,
            "use_mlp_bias": True,
            "dropout_rate": 0.0,
            "layer_norm_epsilon": 1e-6,
            "initializer_range": 0.02,
        },
        "qformer": {
            "class": "BLIP2QFormer",
            "num_query_tokens": 4,
            "num_layers": 2,
            "num_heads": 2,
            "hidden_dim": 32,
            "intermediate_dim": 64,
            "vision_dim": 32,
            "cross_attention_frequency": 2,
            "dropout": 0.0,
            "layer_norm_epsilon": 1e-12,
        },
        "language_model": {
            "class": "BLIP2CustomOPT",
            "vocabulary_size": 128,
            "num_layers": 1,
            "num_heads": 2,
            "hidden_dim": 32,
            "intermediate_dim": 64,
            "num_query_tokens": 4,
            "dropout": 0.0,
            "max_sequence_length": 64,
            "qformer_hidden_dim": 32,
        },
    },
    "CLIPTextEncoder": _TEXT,
    "MetaCLIP2TextEncoder": _TEXT,
    "SigLIPTextEncoder": _TEXT,
    "CLIPBackbone": {**_towers("CLIP"), "projection_dim": 16},
    "MetaCLIP2Backbone": {**_towers("MetaCLIP2"), "projection_dim": 16},
    "SigLIPBackbone": _towers("SigLIP"),
    "FluxBackbone": {
        "input_channels": 16,
        "hidden_size": 32,
        "mlp_ratio": 2.0,
        "num_heads": 2,
        "depth": 1,
        "depth_single_blocks": 1,
        "axes_dim": [4, 6, 6],
        "theta": 10000,
        "use_bias": True,
        "image_shape": [8, 16],
        "text_shape": [4, 16],
        "image_ids_shape": [8, 3],
        "text_ids_shape": [4, 3],
        "y_shape": [16],
    },
    "Gemma3nBackbone": {
        "text_vocab_size": 128,
        "text_hidden_size": 32,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": [64, 64],
        "hidden_activation": "gelu_approximate",
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 8,
        "rope_theta": 10000.0,
        "max_position_embeddings": 64,
        "vocab_size_per_layer_input": 128,
        "hidden_size_per_layer_input": 4,
        "altup_num_inputs": 2,
        "laurel_rank": 2,
    },
    "PARSeqBackbone": {
        "image_encoder": {
            "class": "ViTBackbone",
            "image_shape": [32, 64, 3],
            "patch_size": [8, 8],
            "num_layers": 2,
            "num_heads": 2,
            "hidden_dim": 32,
            "mlp_dim": 64,
            "use_class_token": False,
        },
        "vocabulary_size": 97,
        "max_label_length": 16,
        "decoder_hidden_dim": 32,
        "num_decoder_layers": 1,
        "num_decoder_heads": 2,
        "decoder_mlp_dim": 64,
    },
    "PaliGemmaBackbone": {
        "vit_patch_size": 8,
        "vit_num_heads": 2,
        "vit_hidden_dim": 32,
        "vit_num_layers": 1,
        "vit_intermediate_dim": 64,
    },
    "Qwen3_5Backbone": _LINEAR_ATTENTION,
    "Qwen3_5MoeBackbone": _LINEAR_ATTENTION,
    "RWKV7Backbone": {
        "gate_lora": 8,
        "mv_lora": 8,
        "aaa_lora": 8,
        "decay_lora": 8,
    },
    "SAM3PromptableConceptBackbone": {
        "vision_encoder": {
            "class": "SAM3VisionEncoder",
            **_SAM3_LAYERS,
            "image_shape": [112, 112, 3],
            "patch_size": 14,
            "fpn_hidden_dim": 32,
            "fpn_scale_factors": [4.0, 2.0, 1.0, 0.5],
            "pretrain_image_shape": [56, 56, 3],
            "window_size": 2,
            "global_attn_indexes": [0],
        },
        "text_encoder": {"class": "SAM3TextEncoder", **_TEXT},
        "geometry_encoder": {"class": "SAM3GeometryEncoder", **_SAM3_LAYERS, "roi_size": 7},
        "detr_encoder": {"class": "SAM3DetrEncoder", **_SAM3_LAYERS},
        "detr_decoder": {
            "class": "SAM3DetrDecoder",
            **_SAM3_LAYERS,
            "image_shape": [112, 112, 3],
            "patch_size": 14,
            "num_queries": 8,
        },
        "mask_decoder": {"class": "SAM3MaskDecoder", **_SAM3, "num_upsampling_stages": 3},
    },
    "SmolLM3Backbone": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rope_layer_enabled_list": [True, False],
        "mlp_bias": False,
        "layer_norm_epsilon": 1e-6,
        "max_position_embeddings": 64,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
    },
    "StableDiffusion3Backbone": {
        "mmdit_patch_size": 2,
        "mmdit_hidden_dim": 32,
        "mmdit_num_layers": 1,
        "mmdit_num_heads": 2,
        "mmdit_position_size": 16,
        "mmdit_qk_norm": "rms_norm",
        "mmdit_dual_attention_indices": [],
        "vae": {
            "class": "VAEBackbone",
            "encoder_num_filters": [32, 32],
            "encoder_num_blocks": [1, 1],
            "decoder_num_filters": [32, 32],
            "decoder_num_blocks": [1, 1],
            "sample_channels": 16,
        },
        "clip_l": {"class": "CLIPTextEncoder", **_TEXT, "intermediate_output_index": 0},
        "clip_g": {"class": "CLIPTextEncoder", **_TEXT, "intermediate_output_index": 0},
        "image_shape": [32, 32, 3],
    },
    "T5Gemma2Backbone": _t5gemma(),
    "T5GemmaBackbone": _t5gemma(),
    "WhisperBackbone": {"max_encoder_sequence_length": 16, "max_decoder_sequence_length": 16},
}
