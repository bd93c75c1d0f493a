"""One training step: the objective's loss at a moment, its gradients over all ranks, and Adam."""

import torch
from torch import Tensor, nn

from linftui.nn.net import Net
from linftui.nn.ranks import world_size
from linftui.recipe.schedule import Moment
from linftui.recipe.schema import Optimizer
from linftui.train.distributed import in_parallel
from linftui.train.objectives import Batch, Objective


class Step:
    """Updates a net and its objective's own parameters; all ranks take each step together.

    Args:
        net, objective: on the device to train on.
        settings: the recipe's optimizer.
    """

    def __init__(self, net: Net, objective: Objective, settings: Optimizer) -> None:
        self._loss = in_parallel(LossNet(net, objective))
        self.optimizer = torch.optim.Adam(
            [{"params": list(net.parameters())}, {"params": list(objective.parameters())}],
            betas=(settings.beta1, settings.beta2),
            eps=settings.adam_eps,
        )

    def __call__(self, batch: Batch, moment: Moment) -> dict[str, Tensor]:
        """Takes one step; returns sums over this rank's images, `loss` first, which may not be ready yet."""
        weights, own = self.optimizer.param_groups
        weights["lr"], own["lr"] = moment.lr, moment.objective_lr
        loss, figures = self._loss(batch, moment)
        self.optimizer.zero_grad()
        (loss * world_size()).backward()  # the gradients are means over ranks, the loss is a sum
        self.optimizer.step()
        return {"loss": loss.detach().double() * batch.size, **figures}


class LossNet(nn.Module):
    """The net and its objective as one module, since the ranks average the gradients of one module."""

    def __init__(self, net: Net, objective: Objective) -> None:
        super().__init__()
        self.net, self.objective = net, objective

    def forward(self, batch: Batch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        result = self.objective(self.net, batch, moment)
        return result.loss, result.figures
