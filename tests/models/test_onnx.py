"""ONNX files as networks: names, sizes, precision, threads, weights kept beside the file."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.api import View
from bench.contract.network import loaded as load
from bench.core.errors import BadPlugin, BadSuite, MissingData, MissingPackage
from bench.models import onnx as adapter
from bench.suite import registry

onnx = pytest.importorskip("onnx", reason="onnx writes the files of these tests; it comes with the extra test")
pytest.importorskip("onnxruntime", reason="onnxruntime comes with the extra onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

WEIGHT = np.random.RandomState(0).standard_normal((4, 3, 3, 3)).astype(np.float32)


def write(path, *, sides=("h", "w"), names=("logits",), dtype=TensorProto.FLOAT, outside=False, batch=1, opset=17):
    """A convolution of stride 2 with 4 classes; ``labels`` and ``confidence`` are made of it where they are named."""
    weight = numpy_helper.from_array(WEIGHT.astype(helper.tensor_dtype_to_np_dtype(dtype)), "weight")
    nodes = [helper.make_node("Conv", ["image", "weight"], ["z"], pads=[1, 1, 1, 1], strides=[2, 2])]
    makers = {
        "labels": [helper.make_node("ArgMax", ["z"], ["labels"], axis=1, keepdims=0)],
        "confidence": [
            helper.make_node("Softmax", ["z"], ["p"], axis=1),
            helper.make_node("ReduceMax", ["p"], ["confidence"], axes=[1], keepdims=1),
        ],
    }
    for name in names:
        nodes += makers.get(name, [helper.make_node("Identity", ["z"], [name])])
    kinds = {"labels": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", dtype, [batch, 3, *sides])],
        [helper.make_tensor_value_info(name, kinds.get(name, dtype), None) for name in names],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path, save_as_external_data=outside, location="weights.bin", size_threshold=0)
    return path


def built(path, **params):
    return registry.build("model", "onnx", {"file": str(path), "classes": list("abcd")} | params, where="x")


def loaded(path, **params):
    made = built(path, **params)
    made.check()
    return load(made, "cpu")


def view(*size):
    pixels = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return View("one", pixels, 1.0, False, (0, 0, *size), size, size)


def expected(seen):
    return functional.conv2d(seen.pixels[None].float() / 255, torch.from_numpy(WEIGHT), padding=1, stride=2)[0]


def test_it_computes_what_torch_computes(tmp_path):
    made = loaded(write(tmp_path / "net.onnx"))
    for seen in (view(8, 12), view(10, 6)):
        torch.testing.assert_close(made.predict([seen])[0].raw["logits"], expected(seen), rtol=1e-5, atol=1e-5)


def test_outputs_go_by_name_or_where_no_name_is_known_by_their_order(tmp_path):
    seen = view(8, 8)
    by_name = loaded(write(tmp_path / "a.onnx", names=("confidence", "labels")), outputs=["labels", "confidence"])
    assert by_name.model.outputs == {"labels", "score", "raw", "image", "again"}
    given = by_name.predict([seen])[0]
    torch.testing.assert_close(given.raw["score"], 1 - expected(seen).softmax(0).amax(0), rtol=1e-4, atol=1e-5)
    assert torch.equal(given.labels[::2, ::2], expected(seen).argmax(0).byte())
    by_order = loaded(write(tmp_path / "b.onnx", names=("output.7",)), outputs=["logits"])
    assert torch.equal(
        by_order.predict([seen])[0].raw["logits"], loaded(write(tmp_path / "c.onnx")).predict([seen])[0].raw["logits"]
    )
    with pytest.raises(BadPlugin, match=r"gives confidence, labels, the suite's outputs name logits too"):
        loaded(tmp_path / "a.onnx", outputs=["labels", "logits"]).predict([seen])[0]
    with pytest.raises(BadPlugin, match=r"gives 1 outputs, the suite's outputs are features, logits; name each"):
        loaded(tmp_path / "b.onnx", outputs=["features", "logits"]).predict([seen])[0]


def test_a_file_that_takes_one_size_says_which(tmp_path):
    made = loaded(write(tmp_path / "net.onnx", sides=(8, "w")))
    assert made.predict([view(8, 10)])[0].raw["logits"].shape == (4, 4, 5)
    with pytest.raises(
        BadPlugin, match=r"takes images of \[8, any\] alone, this one is \[6, 10\]; say inference: \{size"
    ):
        made.predict([view(6, 10)])[0]


def test_half_precision_goes_in_and_single_comes_out(tmp_path):
    seen = view(8, 8)
    given = loaded(write(tmp_path / "net.onnx", dtype=TensorProto.FLOAT16)).predict([seen])[0].raw["logits"]
    assert given.dtype == torch.float32
    torch.testing.assert_close(given, expected(seen), rtol=1e-2, atol=1e-2)


def test_it_takes_as_many_threads_as_torch_and_repeats_itself(tmp_path):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        made = loaded(write(tmp_path / "net.onnx"))
    finally:
        torch.set_num_threads(threads)
    options = made._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads, options.use_deterministic_compute) == (
        1,
        1,
        True,
    )
    given = [made.predict([view(16, 16)])[0].raw["logits"] for _ in range(3)]
    assert torch.equal(given[0], given[1]) and torch.equal(given[0], given[2])


def test_weights_beside_the_file_belong_to_it(tmp_path):
    path = write(tmp_path / "net.onnx", outside=True)
    made = loaded(path)
    seen = view(8, 8)
    torch.testing.assert_close(made.predict([seen])[0].raw["logits"], expected(seen), rtol=1e-5, atol=1e-5)
    before, beside = made.model.digest(), tmp_path / "weights.bin"
    beside.write_bytes(bytes(len(beside.read_bytes())))
    assert built(path).digest() != before
    beside.unlink()
    with pytest.raises(MissingData, match=r"net\.onnx keeps weights in .*weights\.bin, which does not exist"):
        built(path).check()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"net\.onnx does not exist; paths in a suite"),
        (b"no network", r"net\.onnx cannot be read: "),
        (b"", r"net\.onnx cannot be read: "),
    ],
)
def test_missing_and_damaged_files_are_one_line(content, words, tmp_path):
    if content is not None:
        (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(MissingData, match=words) as caught:
        loaded(tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)


def test_an_input_that_is_no_image_is_refused(tmp_path):
    with pytest.raises(BadPlugin, match=r"the input of .* is \[4, 3, 'h', 'w'\], wanted \[1, 3, h, w\]"):
        loaded(write(tmp_path / "net.onnx", batch=4)).predict([view(8, 8)])[0]


def test_another_precision_of_the_run_is_refused(tmp_path):
    made = loaded(write(tmp_path / "net.onnx"))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(BadSuite, match=r"say numerics: \{dtype: float32\}"):
        made.predict([view(8, 8)])[0]


def test_it_cannot_be_trained_and_says_so(tmp_path):
    with pytest.raises(BadPlugin, match=r"an ONNX file cannot be trained"):
        loaded(write(tmp_path / "net.onnx")).module()


def test_without_onnx_runtime_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "net.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match=r"pip install 'ood-seg-bench\[onnx\]'"):
        built(path).check()


def test_a_gpu_that_the_runtime_has_not_is_named(tmp_path, monkeypatch):
    made = built(write(tmp_path / "net.onnx"))
    runtime = adapter._runtime()
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingPackage, match=r"this ONNX Runtime has no GPU; pip install onnxruntime-gpu"):
        made.load("cuda:1")
