"""Interrupted trainings: a model file of kind "codec checkpoint", which executes nothing.

Its header holds `architecture`, `plan` and `public_data`, which must be those of the training that
takes it up, and `epoch` and `steps`. Its arrays are "weights.<layer>", "exp_avg.<layer>" and
"exp_avg_sq.<layer>" (float32).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cloister.atomic_file import check_destination
from cloister.errors import ModelFileError
from cloister.model_file import model_array, model_value, read_model, write_model
from cloister.neural.codec_plan import CodecPlan
from cloister.neural.conv_layers import Architecture
from cloister.neural.public_data import PublicData

if TYPE_CHECKING:
    from cloister.neural.codec_run import TrainingState

KIND = "codec checkpoint"
MOMENTS = ("exp_avg", "exp_avg_sq")


class Checkpoint:
    """The checkpoint file of one training.

    Raises
    ------
    ModelFileError
        If the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        architecture: Architecture,
        plan: CodecPlan,
        public: PublicData,
    ) -> None:
        check_destination(path, "resume", ModelFileError)
        self._path, self._architecture = path, architecture
        described = {
            "architecture": architecture.to_dict(),
            "plan": plan.to_dict(),
            "public_data": public.to_dict(),
        }
        # As it comes back from a file: tuples are lists.
        self._training: dict[str, Any] = json.loads(json.dumps(described))

    def write(self, state: TrainingState) -> None:
        """Write the state at the end of an epoch; the file appears whole, or the last one stays."""
        weights = {f"weights.{name}": array for name, array in state.weights.items()}
        header = {**self._training, "epoch": state.epoch, "steps": state.steps}
        write_model(self._path, KIND, {**weights, **state.moments}, header)

    def read(self) -> TrainingState | None:
        """Return the state in the file, or None where there is none.

        Raises
        ------
        ModelFileError
            If it is no checkpoint, or that of another training.
        """
        from cloister.neural.codec_run import TrainingState  # noqa: PLC0415 - torch is optional

        if not Path(self._path).exists():
            return None
        _, arrays, header = read_model(self._path, KIND)
        self._compare(header)
        shapes = self._architecture.shapes()
        read = {
            kind: {
                name: model_array(self._path, arrays, f"{kind}.{name}", np.float32, shape)
                for name, shape in shapes.items()
            }
            for kind in ("weights", *MOMENTS)
        }
        moments = {
            f"{kind}.{name}": array for kind in MOMENTS for name, array in read[kind].items()
        }
        epoch = model_value(self._path, header, "epoch", int)
        steps = model_value(self._path, header, "steps", int)
        if not 0 < epoch <= self._training["plan"]["epochs"] or steps < epoch:
            raise ModelFileError(
                f"resume: {os.fspath(self._path)!r} is damaged: epoch {epoch} after {steps} steps "
                f"of {self._training['plan']['epochs']} epochs; delete it to start again"
            )
        return TrainingState(epoch, steps, read["weights"], moments)

    def _compare(self, header: dict[str, Any]) -> None:
        for part, wanted in self._training.items():
            found = model_value(self._path, header, part, dict)
            for name in sorted(found.keys() | wanted.keys()):
                if found.get(name) != wanted.get(name):
                    raise ModelFileError(
                        f"resume: {os.fspath(self._path)!r} is of a training with "
                        f"{name}={found.get(name)!r}, but this one has {wanted.get(name)!r}; give "
                        "the same images and settings, or another file to start again"
                    )
