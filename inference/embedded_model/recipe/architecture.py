"""The networks of the embedded model, untrained, and the noise schedule that training and sampling share.

All of them are stock parts, so that the stock pipeline loads the result: text encoder 0.53 M parameters,
UNet 4.60 M, autoencoder 1.67 M; 256 x 256 pixels from 8 x 16 x 16 latents.
"""

from __future__ import annotations

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from inference.embedded_model.recipe.build_tokenizer import MAX_TOKENS

LATENT_CHANNELS = 8
TEXT_WIDTH = 128
UNET_WIDTHS = (48, 96, 112)
TRAIN_TIMESTEPS = 1000


def make_scheduler() -> DDIMScheduler:
    """Velocity prediction on a cosine schedule that ends in pure noise.

    So flat backgrounds take any brightness, and few steps are enough.
    """
    return DDIMScheduler(
        num_train_timesteps=TRAIN_TIMESTEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers, width 128."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=TEXT_WIDTH,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def make_unet() -> UNet2DConditionModel:
    """Cross attention at 8 x 8 and 4 x 4; the caption as a whole also reaches every layer with the time."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=UNET_WIDTHS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def make_autoencoder() -> AutoencoderKL:
    """Sixteen pixels per latent cell each way, no attention."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        sample_size=256,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(16, 16, 32, 64, 96),
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 5,
        up_block_types=("UpDecoderBlock2D",) * 5,
        scaling_factor=1.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
