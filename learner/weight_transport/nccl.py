"""Weight transfer over NCCL: vLLM's built-in engine, set up with our client. Needs one GPU per member."""

from __future__ import annotations

from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

from data.interfaces import free_port

NUM_BUFFERS = 2


def nccl_init_info(rank: int, master_address: str, world_size: int, bucket_bytes: int) -> NCCLTrainerInitInfo:
    """The arguments of vLLM's `NCCLTrainerWeightTransferEngine`.

    Memory on learner rank 0: two buffers of up to `bucket_bytes` plus the largest parameter each, and the parameters
    they are packed from.

    Args:
        rank: This learner rank; 0 sends and must have selected its CUDA device.
        master_address: Address of learner rank 0 that the rollout workers can reach.
        world_size: Learner rank 0 plus the worker processes of all engines.
        bucket_bytes: Buffers are sent once they hold more than this.
    """
    return NCCLTrainerInitInfo(
        rank=rank,
        master_address=master_address,
        master_port=free_port(master_address) if rank == 0 else 0,
        world_size=world_size,
        packed=True,
        packed_buffer_size_bytes=bucket_bytes,
        packed_num_buffers=NUM_BUFFERS,
    )
