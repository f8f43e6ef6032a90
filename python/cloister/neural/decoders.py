"""Decoders: from embeddings to images, and codecs that go both ways.

Importing this module imports neither torch nor diffusers; what needs them does when it is used.
"""

from cloister.neural.autoencoder import ConvCodec
from cloister.neural.autoencoder_kl import AutoencoderKLDecoder
from cloister.neural.codec_file import load_codec
from cloister.neural.codec_training import train_codec
from cloister.neural.dct_codec import DCTCodec
from cloister.neural.decoder_check import check_decoder
from cloister.neural.procedural_images import procedural_images
from cloister.neural.protocols import Decoder
from cloister.neural.unclip import UnCLIPDecoder

__all__ = [
    "AutoencoderKLDecoder",
    "ConvCodec",
    "DCTCodec",
    "Decoder",
    "UnCLIPDecoder",
    "check_decoder",
    "load_codec",
    "procedural_images",
    "train_codec",
]
