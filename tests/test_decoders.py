"""The facade of decoders, and whether a decoder fits its embeddings."""

import inspect
import subprocess
import sys

import pytest

from cloister.errors import InvalidInput, InvalidType
from cloister.neural import decoders
from cloister.neural.decoders import DCTCodec, check_decoder
from cloister.neural.optional_packages import need


def test_importing_decoders_imports_no_heavy_package():
    heavy = {"torch", "diffusers", "transformers", "PIL", "torchvision"}
    code = f"import sys, cloister.neural.decoders; sys.exit(str({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert result.stderr.strip() == "set()"


def test_every_public_name_is_there_and_documented():
    for name in decoders.__all__:
        assert len(inspect.getdoc(getattr(decoders, name))) > 40, name


def test_a_decoder_that_fits():
    codec = DCTCodec((8, 8), keep=5)
    assert check_decoder(codec) is codec
    assert check_decoder(codec, encoder_id=codec.id, n_features=5) is codec


def test_a_decoder_that_does_not():
    codec = DCTCodec((8, 8), keep=5)
    with pytest.raises(InvalidInput, match="takes embeddings of 5 features, but these have 512"):
        check_decoder(codec, n_features=512)
    with pytest.raises(InvalidInput, match=r"of the encoder 'dct/8x8.*, but these are of 'clip'"):
        check_decoder(codec, encoder_id="clip", n_features=5)
    with pytest.raises(InvalidType, match=r"dict lacks id, encoder_id, .*, decode"):
        check_decoder({})


def test_a_package_that_is_there_is_returned():
    assert need("json", "a test", "none").dumps([]) == "[]"
