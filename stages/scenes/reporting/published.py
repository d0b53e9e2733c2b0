"""Published figures to stand beside ours: per cent and nats on fold 1 of TAU Urban Audio-Visual Scenes 2021.

The paper is Pham et al. 2021, arXiv 2106.06840: accuracy of 10-s clips, from its Tables VI and VII and its Section IV.
Frameworks are named as their files under data/predictions.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """A framework's name in the paper and its accuracy there, per cent."""

    name: str
    accuracy: float


TABLE_VI = {
    "audio_spectrogram/cqt": Published("audio-CQT-Vgg14", 68.3),
    "audio_spectrogram/gam": Published("audio-GAM-Vgg14", 69.6),
    "audio_spectrogram/mel": Published("audio-MEL-Vgg14", 72.2),
    "fuse/audio_spectrograms-max": Published("MAX of the three spectrograms", 78.0),
    "fuse/audio_spectrograms-mean": Published("MEAN", 79.7),
    "fuse/audio_spectrograms-prod": Published("PROD", 80.4),
    "audio_embedding/Cnn14": Published("audio-emb-CNN14", 64.4),
    "audio_embedding/MobileNetV1": Published("audio-emb-MobileNetV1", 57.8),
    "audio_embedding/Res1dNet31": Published("audio-emb-Res1dNet30", 58.0),
    "audio_embedding/ResNet38": Published("audio-emb-Resnet38", 62.7),
    "audio_embedding/Wavegram_Logmel_Cnn14": Published("audio-emb-Wavegram", 63.4),
    "fuse/audio_embeddings-max": Published("MAX of the five embeddings", 64.9),
    "fuse/audio_embeddings-mean": Published("MEAN", 69.6),
    "fuse/audio_embeddings-prod": Published("PROD", 68.4),
    "fuse/audio_best-prod": Published("PROD of the spectrograms and CNN14", 82.2),
}

TABLE_VII = {
    "visual_image/Xception": Published("visual-image-Xception", 85.9),
    "visual_image/VGG19": Published("visual-image-Vgg19", 83.8),
    "visual_image/ResNet50": Published("visual-image-Resnet50", 86.3),
    "visual_image/InceptionV3": Published("visual-image-InceptionV3", 88.9),
    "visual_image/MobileNetV2": Published("visual-image-MobileNetV2", 84.4),
    "visual_image/DenseNet121": Published("visual-image-DenseNet121", 87.8),
    "visual_image/NASNetLarge": Published("visual-image-NASNetLarge", 86.9),
    "fuse/visual_images-max": Published("MAX of the seven images", 90.2),
    "fuse/visual_images-mean": Published("MEAN", 90.5),
    "fuse/visual_images-prod": Published("PROD", 91.1),
    "visual_embedding/Xception": Published("visual-emb-Xception", 80.3),
    "visual_embedding/VGG19": Published("visual-emb-Vgg19", 80.8),
    "visual_embedding/ResNet50": Published("visual-emb-Resnet50", 82.0),
    "visual_embedding/InceptionV3": Published("visual-emb-InceptionV3", 83.4),
    "visual_embedding/MobileNetV2": Published("visual-emb-MobileNetV2", 80.2),
    "visual_embedding/DenseNet121": Published("visual-emb-DenseNet121", 83.5),
    "visual_embedding/NASNetLarge": Published("visual-emb-NASNetLarge", 81.5),
    "fuse/visual_embeddings-max": Published("MAX of the seven embeddings", 86.5),
    "fuse/visual_embeddings-mean": Published("MEAN", 81.8),
    "fuse/visual_embeddings-prod": Published("PROD", 84.3),
}

AUDIO_VISUAL = {
    "fuse/mel_inception-prod": Published("MEL-InceptionV3 (PROD)", 92.8),
    "fuse/all_models-prod": Published("all-models (PROD)", 93.9),
}
ALL_MODELS_META_ACCURACY = 99.3


class System(NamedTuple):
    """A published system under DCASE's one-second protocol and, where known, on whole clips; per cent and nats."""

    name: str
    second_accuracy: float
    second_log_loss: float
    accuracy: float


# Wang et al. 2021, arXiv 2105.13675 and arXiv 2011.00030. The paper quotes 77.4 for the official system.
BASELINE = {
    "dcase_baseline/audio": System("DCASE baseline, audio", 65.1, 1.048, 75.8),
    "dcase_baseline/visual": System("DCASE baseline, video", 64.9, 1.648, 68.4),
    "dcase_baseline/early": System("DCASE baseline, early fusion", 77.5, 0.963, 82.2),
    "dcase_baseline/official": System("DCASE baseline, official", 77.0, 0.658, 84.8),
}


class Later(NamedTuple):
    """A system published after the paper: accuracy in per cent and log loss as its authors report them."""

    name: str
    accuracy: float
    log_loss: float = float("nan")


LATER = [
    Later("an ensemble with CLIP (Okazaki et al., DCASE 2021)", 96.1, 0.149),
    Later("two-phase training ([arXiv 2305.01476](https://arxiv.org/abs/2305.01476))", 95.3),
    Later("its audio alone", 80.5),
    Later("its frames alone", 91.8),
    Later("a single system ([arXiv 2204.11420](https://arxiv.org/abs/2204.11420))", 94.59, 0.1517),
    Later("joint modelling and augmentation ([arXiv 2203.04114](https://arxiv.org/abs/2203.04114))", 94.2),
    Later("a linear probe on CLIP, single frames (a public example)", 89.3),
    Later("CLIP zero-shot, single frames (the same, best of two)", 72.9),
]
