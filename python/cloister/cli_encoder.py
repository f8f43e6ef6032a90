"""The encoder of embeddings, as their files tell it: which it was, and whether rows are pure."""

from dataclasses import replace
from typing import TYPE_CHECKING

from cloister.errors import InvalidInput
from cloister.neural.embedding_file import common_provenance

if TYPE_CHECKING:
    from cloister.cli_options import FitOptions


def with_encoder(options: "FitOptions") -> "FitOptions":
    """Return the options of a fit with the encoder that ROWS name, if they name one.

    Raises
    ------
    InvalidInput
        If --encoder-id names another, or the files were made by several.
    """
    made = common_provenance(options.rows, "ROWS")
    if made is None:
        return options
    if options.encoder_id not in (None, made.encoder_id):
        raise InvalidInput(
            f"--encoder-id={options.encoder_id!r}, but ROWS were made by {made.encoder_id!r}; "
            "leave it out"
        )
    return replace(options, encoder_id=made.encoder_id, row_purity=made.row_purity)


def check_test_encoder(test: str | None, encoder_id: str | None) -> None:
    """Refuse test rows that are known to be of another encoder than the model's.

    Raises
    ------
    InvalidInput
    """
    made = None if test is None or encoder_id is None else common_provenance(test, "--test")
    if made is not None and made.encoder_id != encoder_id:
        raise InvalidInput(
            f"--test was made by the encoder {made.encoder_id!r}, but the model is of rows of "
            f"{encoder_id!r}; embed the test images with that one"
        )
