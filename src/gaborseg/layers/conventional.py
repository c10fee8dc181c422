"""The conventional convolution, whose every tap is a parameter."""

from torch import Tensor, nn

from gaborseg.layers.convolution import same_conv3d
from gaborseg.layers.grid import check_convolution


class ConventionalConv3d(nn.Conv3d):
    """'Same' convolution with free kernels: K^3 trained taps for each pair of channels.

    y_o = sum_i w_oi * x_i (+ bias_o), zero-padded. Initial taps are normal with variance
    2 / (I K^3), Kaiming's; the bias starts at 0.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd.
        bias: Add a trained offset to each output channel.

    Shape:
        (B, I, D, H, W) -> (B, O, D, H, W), for any volume.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, or `kernel_size` is even or below 1.

    Example:
        >>> import torch
        >>> layer = ConventionalConv3d(4, 8)
        >>> layer(torch.randn(1, 4, 9, 9, 9)).shape
        torch.Size([1, 8, 9, 9, 9])
        >>> sum(p.numel() for p in layer.parameters())  # 3^3 x 4 x 8
        864

    References:
        He et al., Delving deep into rectifiers, ICCV 2015, eq. (10): the initial taps.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, bias: bool = False
    ) -> None:
        check_convolution(in_channels, out_channels, kernel_size)
        super().__init__(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias
        )

    def reset_parameters(self) -> None:
        """Draw the kernel from a normal distribution of variance 2 / fan_in; zero the bias."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Filter a volume: (B, I, D, H, W) -> (B, O, D, H, W)."""
        return same_conv3d(x, self.weight, self.bias)
