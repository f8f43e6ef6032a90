"""Encoders: public functions from an image, or a text, to an embedding.

Importing this module imports neither torch nor any library of models; making an encoder does.
"""

from cloister.neural.embedding import embed
from cloister.neural.embedding_file import Provenance, read_provenance
from cloister.neural.image_source import ImageSource
from cloister.neural.images import as_images
from cloister.neural.module_encoder import ModuleEncoder
from cloister.neural.open_clip_encoder import open_clip_encoder
from cloister.neural.preprocessing import Preprocessing
from cloister.neural.protocols import Encoder
from cloister.neural.row_purity import RowPurity, check_row_purity
from cloister.neural.sentence_encoder import sentence_transformers_encoder
from cloister.neural.text_tokens import TextTokens
from cloister.neural.timm_encoder import timm_encoder
from cloister.neural.torchvision_encoder import torchvision_encoder
from cloister.neural.transformers_encoder import transformers_encoder

__all__ = [
    "Encoder",
    "ImageSource",
    "ModuleEncoder",
    "Preprocessing",
    "Provenance",
    "RowPurity",
    "TextTokens",
    "as_images",
    "check_row_purity",
    "embed",
    "open_clip_encoder",
    "read_provenance",
    "sentence_transformers_encoder",
    "timm_encoder",
    "torchvision_encoder",
    "transformers_encoder",
]
