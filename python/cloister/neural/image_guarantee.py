"""The statement of privacy of a model of images: all that was fitted, and how far it reaches."""

from dataclasses import dataclass, replace
from typing import Any

from cloister.privacy.accounting import GaussianEvent
from cloister.privacy.guarantee import ROW_PURITIES, PrivacyGuarantee

LABELLER = "labeller: "
"""Before the names of the labeller's releases."""


@dataclass(frozen=True)
class ImageGuarantee(PrivacyGuarantee):
    """The guarantee of a `Synthesizer` or an `ImageLabeller`, over all of its private fits.

    Attributes
    ----------
    row_purity : {"strict", "measured", "unchecked"}
        The weakest of the encoders': whether the guarantee covers images or embeddings alone.
    decoder_id, decoder_public_data : str or None
        What made the images, and what that was made from.
    labeller : PrivacyGuarantee or None
        The labeller's part: how its rows were prepared. Its releases are among `events`.
    """

    row_purity: str = "unchecked"
    decoder_id: str | None = None
    decoder_public_data: str | None = None
    labeller: PrivacyGuarantee | None = None

    @classmethod
    def over(
        cls,
        images: PrivacyGuarantee,
        row_purity: str,
        *,
        labeller: "ImageGuarantee | None" = None,
        decoder: Any = None,
    ) -> "ImageGuarantee":
        """Compose the guarantees of one or two fits on the same images, exactly.

        Parameters
        ----------
        images : PrivacyGuarantee
            Of the first mixture.
        row_purity : str
            Of its encoder.
        labeller : ImageGuarantee, optional
            Of the labeller, at the same delta.
        decoder : Decoder, optional
        """
        events = list(images.events)
        if labeller is not None:
            row_purity = max(row_purity, labeller.row_purity, key=ROW_PURITIES.index)  # the weaker
            events += [
                GaussianEvent(LABELLER + event.name, event.sensitivity, event.sigma)
                for event in labeller.events
            ]
        parts = [images] if labeller is None else [images, labeller]
        return cls.of(
            events,
            images.delta,
            unsafe_noise_seed=any(part.unsafe_noise_seed for part in parts),
            clip_norm=images.clip_norm,
            classes_from_data=images.classes_from_data,
            encoder_id=images.encoder_id,
            transform=images.transform,
            row_purity=row_purity,
            decoder_id=None if decoder is None else decoder.id,
            decoder_public_data=None if decoder is None else decoder.public_data,
            labeller=labeller,
        )  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file header; infinities become strings."""
        labeller = None if self.labeller is None else self.labeller.to_dict()
        return {**super().to_dict(), "labeller": labeller}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "ImageGuarantee":
        """Undo `to_dict`."""
        labeller = plain.get("labeller")
        inner = None if labeller is None else ImageGuarantee.from_dict(labeller)
        guarantee = super().from_dict({**plain, "labeller": None})
        if not isinstance(guarantee, cls) or guarantee.row_purity not in ROW_PURITIES:
            raise ValueError(f"row_purity is {plain.get('row_purity')!r}, none of {ROW_PURITIES}")
        return replace(guarantee, labeller=inner)

    def _unit(self) -> str:
        return "one image with its label" if self.row_purity == "strict" else super()._unit()

    def _preparation(self) -> str:
        own = f"embeddings of images, {super()._preparation()}"
        if self.labeller is None:
            return own
        return f"{own} (for the labeller: {self.labeller._preparation()})"

    def _conditions(self) -> list[str]:
        codec = ["The encoder is taken to be public."]
        if self.decoder_id is not None:
            codec = [
                "Encoder and decoder are taken to be public: of the decoder "
                f"{self.decoder_id!r} the public data is {self.decoder_public_data!r}."
            ]
        return [*super()._conditions(), *codec]

    def _scope(self) -> str:
        if self.row_purity == "unchecked":
            return super()._scope()
        names = [self.encoder_id]
        if self.labeller is not None and self.labeller.encoder_id not in names:
            names.append(self.labeller.encoder_id)
        made_by = "the encoder " + " and the encoder ".join(repr(name) for name in names)
        if self.row_purity == "strict":
            return (
                f"The guarantee covers the images themselves: {made_by} computes each embedding "
                "from its own image alone, by construction."
            )
        return (
            "The guarantee is stated for the embeddings as the data set. A test found that "
            f"{made_by} computes an embedding from its own image alone, but measuring is no proof: "
            "it extends to the images as far as that holds."
        )
