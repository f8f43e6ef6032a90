"""`cloister synthesize` and `sample-images`: private images in, synthetic images out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

import cloister
from cloister.atomic_file import check_destination
from cloister.cli_codec_option import open_codec
from cloister.cli_files import check_array_file, check_labels, parse_classes, read_array
from cloister.cli_output import busy, emit, say, show_pairs, show_paragraph
from cloister.cli_price import budget_state
from cloister.cli_road import check_distinct
from cloister.errors import InvalidInput
from cloister.neural import ImageLabeller, Synthesizer
from cloister.neural.codec_input import check_image_batch
from cloister.neural.encoded_images import stored_images
from cloister.neural.image_files import Pictures
from cloister.neural.images import as_images
from cloister.neural.sample_files import check_samples_destination
from cloister.neural.synthesizer_file import image_shape_of
from cloister.privacy.ledger import Budget
from cloister.sources.file_names import split_key

DEFAULT_IMAGES, DEFAULT_LABELS = "x", "y"


def has_array_suffix(spec: str) -> bool:
    """Whether images are an array file; a folder or a pattern of image files otherwise."""
    return split_key(spec)[0].lower().endswith((".npy", ".npz"))


@dataclass(frozen=True)
class SampleOptions:
    """What is to be drawn; None where nothing."""

    samples: str | None
    n_samples: int | None
    grid: str | None
    temperature: float
    random_state: int | None
    resume: bool = False

    def check(self, option: str) -> None:
        """Refuse, before anything is fitted, what would fail after it.

        Raises
        ------
        click.UsageError, InvalidInput, MissingDependency
        """
        if (self.samples is None) != (self.n_samples is None):
            raise click.UsageError(f"{option} and -n need each other")
        if self.samples is not None:
            check_samples_destination(self.samples, option, resume=self.resume)
        if self.grid is not None:
            check_destination(self.grid, "--grid")

    def draw(self, model: Synthesizer) -> dict[str, Any]:
        """Draw, write, and return what there is to report; costs no privacy."""
        if self.samples is not None and self.n_samples is not None:
            with busy(f"drawing {self.n_samples} images"):
                model.write(
                    self.samples,
                    self.n_samples,
                    self.random_state,
                    self.temperature,
                    resume=self.resume,
                )
        if self.grid is not None:
            model.grid(10, self.random_state, self.temperature, path=self.grid)
        names = ("samples", "n_samples", "grid")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True)
class SynthesizeOptions:
    """The options of `cloister synthesize`, as given; None where the estimators decide."""

    images: str
    labels: str | None
    codec: str
    out: str
    mixture: Mapping[str, Any]
    classes: str | None
    labeller_share: float | None
    budget: str | None
    dataset: str | None
    budget_epsilon: float | None
    budget_delta: float | None
    fit_name: str | None
    drawn: SampleOptions

    def check(self) -> None:
        """Refuse what means nothing, and files that are not there; opens none.

        Raises
        ------
        click.UsageError, InvalidInput, MissingDependency
        """
        if self.mixture["epsilon"] == float("inf"):
            raise InvalidInput(
                "--epsilon=inf adds no noise, and a model without privacy is not saved; give a "
                "finite one, such as 1.0, or fit without noise from Python"
            )
        if (self.budget is None) != (self.dataset is None):
            raise click.UsageError("--budget and --dataset need each other")
        for name in ("budget_epsilon", "budget_delta", "fit_name"):
            if self.budget is None and getattr(self, name) is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} needs --budget and --dataset")
        if has_array_suffix(self.images):
            check_array_file("IMAGES", self.images)
        if self.labels is not None:
            check_labels("--labels", self.labels)
        check_destination(self.out, "--out")
        self.drawn.check("--samples")
        check_distinct(
            {"--out": self.out, "--samples": self.drawn.samples, "--grid": self.drawn.grid},
            {"IMAGES": self.images, "--labels": self.labels, "--budget": self.budget},
        )

    def _classes(self) -> list[int] | list[str] | None:
        """Return the list of classes; those of folders are names."""
        classes = parse_classes(self.classes)
        if classes is None or self.labels is not None or has_array_suffix(self.images):
            return classes
        return [str(name) for name in classes]

    def synthesizer(self, image_shape: tuple[int, ...], budget: Budget | None) -> Synthesizer:
        """Return it, not fitted."""
        codec = open_codec(self.codec, image_shape)
        given = {name: value for name, value in self.mixture.items() if value is not None}
        mixture = cloister.DPGaussianMixture(
            **given,
            classes=self._classes(),
            budget=budget,
            fit_name=self.fit_name,
            random_state=self.drawn.random_state,
        )
        if self.labeller_share is None:
            return Synthesizer(codec, mixture, codec)
        # Of the same embeddings, but tilted: a rule that is fitted to tell classes apart.
        labeller = ImageLabeller(codec, cloister.DPGaussianMixture(n_hint=given.get("n_hint")))
        return Synthesizer(codec, mixture, codec, labeller, self.labeller_share)


def synthesize(options: SynthesizeOptions, as_json: bool) -> None:
    """Fit, save, draw and report."""
    options.check()
    images, labels = _images(options.images), None
    if options.labels is not None:
        labels = read_array("--labels", options.labels, DEFAULT_LABELS)
    budget = None
    if options.budget is not None and options.dataset is not None:
        total = (options.budget_epsilon, options.budget_delta)
        budget = Budget(options.budget, options.dataset, *total)
    first = stored_images(images, "IMAGES").read(0, 1)[0]
    model = options.synthesizer(first.shape, budget)
    with busy(f"fitting images at epsilon={options.mixture['epsilon']:g}"):
        model.fit(images, labels)
    model.save(options.out)
    try:
        drawn = options.drawn.draw(model)
    except BaseException:  # Ctrl-C too: who paid for the model must not pay for it again
        say(f"the model is in {options.out!r}: go on with `cloister sample-images`")
        raise
    _report(options.out, model, drawn, budget, as_json)


def _images(spec: str) -> Any:
    """Return the private images, from whose shape a codec that is no file takes its own.

    Raises
    ------
    InvalidInput
        If some are grey and some have colours. One image's colours would then decide the shape of
        what is released, and a guarantee for each of them could not hold.
    """
    if has_array_suffix(spec):
        return check_image_batch("IMAGES", read_array("IMAGES", spec, DEFAULT_IMAGES))
    found = as_images(spec, "IMAGES")
    if isinstance(found, Pictures) and found.mixed:
        raise InvalidInput(
            f"IMAGES: of the {found.n} images in {spec!r} some are grey and some have colours; "
            "convert all to one of the two: single images must not decide what is released"
        )
    return found


def sample_images(path: str, codec: str, options: SampleOptions, as_json: bool) -> None:
    """Draw images from a model file, write them and report."""
    options.check("--out")
    if options.samples is None and options.grid is None:
        raise click.UsageError("give --out with -n, or --grid")
    check_distinct({"--out": options.samples, "--grid": options.grid}, {"MODEL": path})
    both = open_codec(codec, image_shape_of(path))
    model = Synthesizer.load(path, both, both)
    _report(path, model, options.draw(model), None, as_json)


def _report(
    path: str, model: Synthesizer, drawn: dict[str, Any], budget: Budget | None, as_json: bool
) -> None:
    guarantee = model.privacy_
    result: dict[str, Any] = {
        "model": path,
        "encoder_id": guarantee.encoder_id,
        "decoder_id": guarantee.decoder_id,
        "image_shape": model.image_shape_,
        **drawn,
        "privacy": guarantee.to_dict(),
        "statement": guarantee.statement(),
    }
    if budget is not None:
        result["budget"] = budget_state(budget)

    def show() -> None:
        facts = {k: v for k, v in result.items() if k not in ("privacy", "statement", "budget")}
        numbers = {name: getattr(guarantee, name) for name in ("epsilon", "delta", "mu", "rho")}
        show_pairs({**facts, **numbers})
        show_pairs({f"budget: {k}": v for k, v in result.get("budget", {}).items()})
        show_paragraph(result["statement"])

    emit(result, as_json, show)
