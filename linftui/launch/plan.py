"""What will be started, decided before anything starts: ranks, threads, environment and command line."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from linftui.launch.environment import inherited


@dataclass(frozen=True)
class LaunchPlan:
    """Where a run is trained: one device per rank, "cpu" or a GPU's UUID, and the threads of each rank."""

    devices: tuple[str, ...]
    threads: int

    @property
    def ranks(self) -> int:
        return len(self.devices)

    @property
    def torch_device(self) -> str:
        return "cpu" if self.devices[0] == "cpu" else "cuda"

    @property
    def spec(self) -> str:
        """These devices as `--devices` takes them."""
        cpus = "cpu" if self.ranks == 1 else f"cpu:{self.ranks}"
        return cpus if self.torch_device == "cpu" else ",".join(self.devices)

    def worker_command(self, *arguments: str) -> list[str]:
        """The command of one worker on these devices."""
        return [
            # -P: nothing is imported from the folder it is started in, perhaps a stranger's run.
            sys.executable, "-P", "-m", "linftui.worker", *arguments,
            "--device", self.torch_device, "--threads", str(self.threads),
        ]  # fmt: skip

    def training_command(self, rendezvous: Path, *arguments: str) -> list[str]:
        """The command that trains: the worker itself, or torchrun, which starts one worker per rank.

        Ranks meet in files in `rendezvous`: the store that `torchrun --standalone` opens listens on every
        network.
        """
        if self.ranks == 1:
            return self.worker_command(*arguments)
        program, *rest = self.worker_command(*arguments, "--rendezvous", str(rendezvous))
        return [
            sys.executable, "-P", "-m", "torch.distributed.run",
            "--nnodes=1", f"--nproc-per-node={self.ranks}", "--max-restarts=0",
            "--rdzv-backend=c10d", "--rdzv-conf=store_type=file", f"--rdzv-endpoint={rendezvous / 'agent'}",
            f"--log-dir={rendezvous / 'torchrun'}", "--no-python",
            program, *(word.replace("$", "$$") for word in rest),  # torchrun substitutes values for $names
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The worker's environment: it sees its own devices only, in the order that NVML lists them."""
        visible = "" if self.torch_device == "cpu" else ",".join(self.devices)
        return {
            **inherited(os.environ),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": visible,
            "PYTHONUNBUFFERED": "1",
            **(self._several_ranks() if self.ranks > 1 else {}),
        }

    def _several_ranks(self) -> dict[str, str]:
        return {
            "OMP_NUM_THREADS": str(self.threads),  # else torchrun sets 1, and prints that it does
            # Ranks of one machine talk on loopback only, where no other machine can listen in.
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "lo",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
