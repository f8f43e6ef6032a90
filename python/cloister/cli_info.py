"""`cloister info`: this installation, a model file, or a ledger."""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import cloister
from cloister import cli_codec
from cloister.cli_output import emit, show_pairs, show_paragraph, show_table
from cloister.cli_price import budget_state
from cloister.errors import ModelFileError
from cloister.model_file import model_value, read_model
from cloister.neural.image_guarantee import ImageGuarantee
from cloister.privacy.guarantee import PrivacyGuarantee
from cloister.privacy.ledger import Budget
from cloister.version import __version__

if TYPE_CHECKING:
    from cloister._backend import CudaSupport

EXTRAS = ("torch", "torchvision", "pyarrow", "cupy-cuda13x")

NO_STATEMENT = (
    "This file carries no guarantee of its own. Computed from synthetic rows alone, it keeps that "
    "of the model they were sampled from; computed from private rows, it has none."
)


def installation(as_json: bool) -> None:
    """Report the version, the processor's instruction sets, GPUs and the optional packages."""
    cuda = cloister.cuda_support()
    result: dict[str, Any] = {
        "version": __version__,
        "instruction_sets": list(cloister.supported_targets()),
        "instruction_set": cloister.target(),
        "threads": cloister.num_threads(),
        "cuda": asdict(cuda),
        "extras": {name: _installed(name) for name in EXTRAS},
    }

    def show() -> None:
        facts = {name: value for name, value in result.items() if name not in ("cuda", "extras")}
        facts["instruction_sets"] = ", ".join(result["instruction_sets"])
        extras = {name: found or "not installed" for name, found in result["extras"].items()}
        show_pairs(facts | _cuda_facts(cuda) | extras)

    emit(result, as_json, show)


def _cuda_facts(cuda: "CudaSupport") -> dict[str, str]:
    """Return what was compiled for GPUs and what was found, as lines to show."""
    found = {
        f"cuda:{gpu.number}": f"{gpu.name}, {gpu.memory / 2**30:.1f} GiB, compute capability "
        f"{gpu.capability[0]}.{gpu.capability[1]}"
        for gpu in cuda.devices
    }
    return {
        "cuda_kernels": ", ".join(cuda.architectures) or "not compiled",
        "cuda_runtime": cuda.runtime or "none",
        "cuda_driver": cuda.driver or "none",
        **(found or {"cuda_devices": f"none: {cuda.problem}"}),
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def model(path: str, as_json: bool) -> None:
    """Report what a model file says about itself."""
    kind, arrays, header = read_model(path)
    if kind == "codec":
        cli_codec.info(path, as_json)
        return
    parameters = model_value(path, header, "parameters", dict)
    privacy = _guarantee(path, header)
    result = {
        "kind": kind,
        "parameters": parameters,
        "classes": header.get("classes"),
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
        "privacy": None if privacy is None else privacy.to_dict(),
        "statement": NO_STATEMENT if privacy is None else privacy.statement(),
    }

    def show() -> None:
        shown = {**parameters, "classes": result["classes"]}
        if isinstance(shown.get("row_transform"), dict):  # a whitening: thousands of numbers
            shown["row_transform"] = shown["row_transform"].get("name")
        show_pairs({"kind": kind, **shown})
        if privacy is not None:
            numbers = ("epsilon", "delta", "mu", "rho")
            show_pairs({f"guarantee: {name}": getattr(privacy, name) for name in numbers})
        show_paragraph(str(result["statement"]))

    emit(result, as_json, show)


def _guarantee(path: str, header: dict[str, Any]) -> PrivacyGuarantee | None:
    if "privacy" not in header:
        return None
    try:
        of_images = "labeller" in header["privacy"]
        kind = ImageGuarantee if of_images else PrivacyGuarantee
        return kind.from_dict(header["privacy"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"path: {path!r} has a damaged guarantee: {error!r}") from error


def ledger(path: str, dataset: str, as_json: bool) -> None:
    """Report what was spent on a data set and what is left."""
    budget = Budget(path, dataset)
    fits = [
        {
            "name": fit.name,
            "state": fit.state,
            "mu_squared": fit.mu_squared,
            "rounds": fit.rounds,
            "created": fit.created,
        }
        for fit in budget.fits()
    ]
    result = {"ledger": path, **budget_state(budget), "fits": fits}

    def show() -> None:
        show_pairs({name: value for name, value in result.items() if name != "fits"})
        if fits:
            show_table({name: [fit[name] for fit in fits] for name in fits[0]})

    emit(result, as_json, show)
