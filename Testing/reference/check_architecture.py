"""Our U-Nets give what those of dynamic-network-architectures give, weight for weight.

PYTHONPATH=. python Testing/reference/check_architecture.py
"""

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

from DeepSegLogic.networks.unet import build_unet

CUBE, FLAT = [3, 3, 3], [1, 3, 3]
CASES = [
    ("PlainConvUNet", [4, 8, 16], [CUBE] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 2]], [2, 2, 2], [2, 2]),
    ("PlainConvUNet", [4, 8, 8, 8], [FLAT, CUBE, CUBE, CUBE], [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 1]], 2, 1),
    ("ResidualEncoderUNet", [4, 8, 16], [CUBE] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 2]], [1, 3, 4], [1, 1]),
    ("ResidualEncoderUNet", [4, 4, 8, 8], [FLAT, FLAT, CUBE, CUBE], [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]], 2, 1),
]


def main() -> None:
    for name, features, kernels, strides, encoder, decoder in CASES:
        residual = name == "ResidualEncoderUNet"
        options = {
            "n_stages": len(features),
            "features_per_stage": features,
            "kernel_sizes": kernels,
            "strides": strides,
            "n_blocks_per_stage" if residual else "n_conv_per_stage": encoder,
            "n_conv_per_stage_decoder": decoder,
            "conv_bias": True,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin_kwargs": {"inplace": True},
        }
        types = {"conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d, "nonlin": torch.nn.LeakyReLU}
        kind = ResidualEncoderUNet if residual else PlainConvUNet
        theirs = kind(input_channels=1, num_classes=5, deep_supervision=True, **options, **types).eval()
        for parameter in theirs.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        named = {n: f"torch.nn.{t.__name__}" for n, t in types.items()}
        ours = build_unet({"network_class_name": f"x.{name}", "arch_kwargs": options | named}, 1, 5).eval()
        ours.load_nnunet_weights(theirs.state_dict())
        x = torch.randn(2, 1, 16, 32, 32)
        with torch.no_grad():
            difference = (ours(x) - theirs(x)[0]).abs().max().item()
        print(f"{name:<20} {features} largest difference {difference:.1e}")
        assert difference < 1e-5


if __name__ == "__main__":
    main()
