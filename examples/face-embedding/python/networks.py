"""The networks of the tool in PyTorch, with the names of parameters that `--init` reads and `export` writes: those of
InsightFace's arcface_torch (backbones/iresnet.py, backbones/mobilefacenet.py) and, for the small network, its own.
"""

from torch import nn

IRESNET_BLOCKS = {
    "iresnet18": [2, 2, 2, 2],
    "iresnet34": [3, 4, 6, 3],
    "iresnet50": [3, 4, 14, 3],
    "iresnet100": [3, 13, 30, 3],
}


def conv(channels_in, channels_out, kernel, stride=1, groups=1, padding=None):
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)


class IResNetBlock(nn.Module):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = conv(channels_in, channels_out, 3)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.prelu = nn.PReLU(channels_out)
        self.conv2 = conv(channels_out, channels_out, 3, stride)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample = None
        if stride > 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(conv(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out))

    def forward(self, features):
        inner = self.prelu(self.bn2(self.conv1(self.bn1(features))))
        shortcut = features if self.downsample is None else self.downsample(features)
        return self.bn3(self.conv2(inner)) + shortcut


class IResNet(nn.Module):
    def __init__(self, blocks, embedding_size=512):
        super().__init__()
        self.conv1 = conv(3, 64, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        channels_in = 64
        for stage, (channels, number) in enumerate(zip([64, 128, 256, 512], blocks), 1):
            layers = [IResNetBlock(channels_in, channels, 2)]
            layers += [IResNetBlock(channels, channels, 1) for _ in range(number - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
            channels_in = channels
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * 7 * 7, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)

    def forward(self, pictures):
        features = self.prelu(self.bn1(self.conv1(pictures)))
        for layer in [self.layer1, self.layer2, self.layer3, self.layer4]:
            features = layer(features)
        return self.features(self.fc(self.bn2(features).flatten(1)))


class Layers(nn.Module):
    """Modules in turn, under the name `layers`."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, features):
        return self.layers(features)


def conv_block(channels_in, channels_out, kernel=1, stride=1, groups=1):
    layers = [conv(channels_in, channels_out, kernel, stride, groups), nn.BatchNorm2d(channels_out)]
    return Layers(*layers, nn.PReLU(channels_out))


def linear_block(channels_in, channels_out, kernel=1, groups=1):
    return Layers(conv(channels_in, channels_out, kernel, groups=groups, padding=0), nn.BatchNorm2d(channels_out))


def depthwise(channels_in, channels_out, between, stride=2):
    inner = [conv_block(channels_in, between), conv_block(between, between, 3, stride, between)]
    return Layers(*inner, linear_block(between, channels_out))


class Residual(Layers):
    def __init__(self, channels, between, number):
        super().__init__(*[depthwise(channels, channels, between, 1) for _ in range(number)])

    def forward(self, features):
        for block in self.layers:
            features = features + block(features)
        return features


class MobileFaceNet(nn.Module):
    def __init__(self, embedding_size=512):
        super().__init__()
        self.layers = nn.ModuleList([
            conv_block(3, 128, 3, 2),
            conv_block(128, 128, 3, groups=64),
            depthwise(128, 128, 128),
            Residual(128, 128, 4),
            depthwise(128, 256, 256),
            Residual(256, 256, 6),
            depthwise(256, 256, 512),
            Residual(256, 256, 2),
        ])
        self.conv_sep = conv_block(256, 512)
        self.features = Layers(
            linear_block(512, 512, 7, 512),
            nn.Flatten(),
            nn.Linear(512, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, pictures):
        features = pictures
        for layer in self.layers:
            features = layer(features)
        return self.features(self.conv_sep(features))


class ConvNorm(nn.Module):
    def __init__(self, channels_in, channels_out, kernel, stride):
        super().__init__()
        self.conv = conv(channels_in, channels_out, kernel, stride)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, features):
        return self.norm(self.conv(features))


class SmallBlock(nn.Module):
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.first = ConvNorm(channels_in, channels_out, 3, 2)
        self.first_activation = nn.PReLU(channels_out)
        self.second = ConvNorm(channels_out, channels_out, 3, 1)
        self.shortcut = ConvNorm(channels_in, channels_out, 1, 2)
        self.second_activation = nn.PReLU(channels_out)

    def forward(self, features):
        inner = self.first_activation(self.first(features))
        return self.second_activation(self.second(inner) + self.shortcut(features))


class Small(nn.Module):
    def __init__(self, image_size, width, embedding_size):
        super().__init__()
        self.first = ConvNorm(3, width, 3, 2)
        self.first_activation = nn.PReLU(width)
        self.stages = nn.ModuleList(SmallBlock(width << stage, width << (stage + 1)) for stage in range(3))
        side = -(-image_size // 16)
        self.embedding = nn.Linear((width << 3) * side * side, embedding_size, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embedding_size)

    def forward(self, pictures):
        features = self.first_activation(self.first(pictures))
        for stage in self.stages:
            features = stage(features)
        return self.embedding_norm(self.embedding(features.flatten(1)))


def network(name, embedding_size, image_size=None, width=None):
    """A network by the settings in preprocessing.json."""
    if name == "small":
        return Small(image_size, width, embedding_size)
    if name == "mobilefacenet":
        return MobileFaceNet(embedding_size)
    return IResNet(IRESNET_BLOCKS[name], embedding_size)
