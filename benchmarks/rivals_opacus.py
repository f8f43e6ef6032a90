"""A linear probe trained by DP-SGD with Opacus, where it is installed (requirements-quality.txt).

Opacus keeps its own account (PRV, Poisson sampling, add/remove), and its noise is torch's float one
(`secure_mode=False`). Constants were set by hand: nobody has tuned this rival yet.
"""

import warnings
from importlib import import_module

import numpy as np

from rivals_probe import Linear, apply_transform


def opacus_sgd(
    data, epsilon, delta, seed, *, transform="root", epochs=20, rate=4.0, clip=0.5, batch=2048
):
    """Return the linear rule; ImportError where opacus is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus warns that this is not its secure mode
        opacus, torch = import_module("opacus"), import_module("torch")
        torch.manual_seed(seed)
        rows = torch.from_numpy(apply_transform(transform, data.rows))
        labels = torch.from_numpy(data.labels.astype(np.int64))
        model = torch.nn.Linear(rows.shape[1], data.n_classes)
        torch.nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(rows, labels), batch_size=min(batch, len(rows))
        )
        model, optimizer, loader = opacus.PrivacyEngine().make_private_with_epsilon(
            module=model,
            optimizer=optimizer,
            data_loader=loader,
            target_epsilon=epsilon,
            target_delta=delta,
            epochs=epochs,
            max_grad_norm=clip,
        )
        loss = torch.nn.CrossEntropyLoss()
        for _ in range(epochs):
            for batch_rows, batch_labels in loader:
                optimizer.zero_grad()
                loss(model(batch_rows), batch_labels).backward()
                optimizer.step()
    weights = model._module.weight.detach().numpy().T
    return Linear(weights, model._module.bias.detach().numpy(), transform)
