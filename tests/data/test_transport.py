"""Both ends of a weight transfer lay parameters out alike."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.transport import Bucket, GlooUpdate, Parameter, checksum, fill_buckets, plan_buckets

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int8]
shapes = st.lists(st.integers(0, 7), max_size=3).map(tuple)
parameter_lists = st.lists(st.tuples(st.sampled_from(DTYPES), shapes), max_size=12).map(
    lambda kinds: [Parameter(f"layer.{i}", dtype, shape) for i, (dtype, shape) in enumerate(kinds)]
)


def random_tensors(parameters: list[Parameter]) -> list[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(p.name, torch.randn(p.shape, generator=generator).mul(50).to(p.dtype)) for p in parameters]


@settings(max_examples=60, deadline=None)
@given(parameters=parameter_lists, bucket_bytes=st.integers(1, 400))
def test_what_is_packed_is_read_back(parameters: list[Parameter], bucket_bytes: int) -> None:
    sent = random_tensors(parameters)
    received = []
    for bucket, buffer in fill_buckets(plan_buckets(parameters, bucket_bytes), sent):
        copy = buffer.clone()
        received += [(parameter.name, tensor.clone()) for parameter, tensor in bucket.views(copy)]
    assert [name for name, _ in received] == [name for name, _ in sent]
    assert all(torch.equal(ours, theirs) for (_, ours), (_, theirs) in zip(received, sent, strict=True))


@settings(max_examples=60, deadline=None)
@given(parameters=parameter_lists, bucket_bytes=st.integers(1, 400))
def test_buckets_are_full_but_not_too_large(parameters: list[Parameter], bucket_bytes: int) -> None:
    buckets = plan_buckets(parameters, bucket_bytes)
    assert [p for bucket in buckets for p in bucket.parameters] == parameters
    assert all(bucket.nbytes <= bucket_bytes or len(bucket.parameters) == 1 for bucket in buckets)
    for bucket, following in itertools.pairwise(buckets):
        assert bucket.nbytes + Bucket(following.parameters[:1]).nbytes > bucket_bytes


@pytest.mark.parametrize(
    ("given_tensors", "message"),
    [
        ([("a", torch.zeros(2))], "expected b torch.float32 .*, the source gave nothing"),
        ([("a", torch.zeros(2)), ("c", torch.zeros(3))], "expected b .*, the source gave c"),
        ([("a", torch.zeros(2)), ("b", torch.zeros(4))], r"the source gave b torch.float32 \[4\]"),
        ([("a", torch.zeros(2)), ("b", torch.zeros(3).half())], "the source gave b torch.float16"),
        (
            [("a", torch.zeros(2)), ("b", torch.zeros(3)), ("c", torch.zeros(1))],
            "gave c, which its metadata does not",
        ),
    ],
)
def test_a_source_that_contradicts_its_metadata_is_named(
    given_tensors: list[tuple[str, torch.Tensor]], message: str
) -> None:
    declared = [Parameter("a", torch.float32, (2,)), Parameter("b", torch.float32, (3,))]
    with pytest.raises(ValueError, match=message):
        list(fill_buckets(plan_buckets(declared, 1000), given_tensors))


def test_an_update_describes_its_parameters() -> None:
    update = GlooUpdate(["a", "b"], ["bfloat16", "float32"], [[2, 3], []])
    assert update.parameters() == [Parameter("a", torch.bfloat16, (2, 3)), Parameter("b", torch.float32, ())]
    assert [p.nbytes for p in update.parameters()] == [12, 4]
    with pytest.raises(ValueError, match="2 names, 1 dtypes and 1 shapes"):
        GlooUpdate(["a", "b"], ["bfloat16"], [[1]])


def test_checksums_differ_with_a_single_bit() -> None:
    tensor = torch.randn(5, 3).bfloat16()
    other = tensor.clone()
    other.view(torch.int16)[2, 1] ^= 1
    assert checksum(tensor) == checksum(tensor.T.contiguous().T)
    assert checksum(tensor) != checksum(other)
